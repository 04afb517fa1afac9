"""Fixed-length windows of tokens."""
