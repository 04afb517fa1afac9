"""The builder of `datasets` over recipes."""
