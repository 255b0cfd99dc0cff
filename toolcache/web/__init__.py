"""The cache over HTTP: an ASGI application to mount or serve, its endpoints told in one table."""
