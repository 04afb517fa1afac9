"""The order of a mix: lanes, interleaving, limits and records."""
