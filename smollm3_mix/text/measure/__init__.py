"""Measures: numbers about documents."""
