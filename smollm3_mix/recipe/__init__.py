"""The description of a mix: frozen dataclasses, read from one YAML file."""
