"""Recount a written mix from its files."""
