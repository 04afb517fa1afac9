"""Private and moved names of other libraries, each imported in one place."""
