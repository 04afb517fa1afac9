"""Readers of Parquet, JSON lines, CSV and Arrow files."""
