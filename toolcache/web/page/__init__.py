"""The page: what the cache does, looked at in a browser. Static files without a build step, and the stream they live on."""
