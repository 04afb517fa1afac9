"""Find duplicates across all sources and lanes once."""
