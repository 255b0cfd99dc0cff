"""Values to bytes and back, and the blob around them."""
