"""The cache in frameworks of others; one file for each."""
