"""Texts that are fetched from Software Heritage by blob id."""
