"""What a fault means, when to stop asking, and how long to wait."""
