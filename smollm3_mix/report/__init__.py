"""Statistics of a mix against its recipe, as tables and HTML."""
