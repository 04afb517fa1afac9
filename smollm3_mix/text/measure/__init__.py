"""Measures of documents: lengths, counts and shares."""
