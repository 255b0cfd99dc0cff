"""The same cache for synchronous code: for threads and scripts."""
