"""Filters: keep or drop a document, with a reason."""
