"""toolcache: the asyncio-native cache for agents."""
