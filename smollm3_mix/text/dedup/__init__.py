"""Exact and near deduplication within one lane."""
