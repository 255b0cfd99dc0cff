"""Values to canonical bytes, calls to keys, keys to safe text."""
