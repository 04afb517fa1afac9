"""Files in Hub repositories: listing, commits and range requests."""
