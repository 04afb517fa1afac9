"""Cleaning: change a text without changing its meaning."""
