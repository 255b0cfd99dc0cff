"""Insight: what a cache's own lookups say of how large it should be, how long values should live, and what goes wrong."""
