"""A mix as files: write, resume, commit and upload."""
