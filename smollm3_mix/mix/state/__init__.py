"""Saved states: take, merge, continue and restore them."""
