"""What ``toolcache doctor`` looks at."""
