"""Find, pin and read source data. The only reader of it."""
