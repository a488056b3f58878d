"""Tasks: a folder each, see ``federation.tasks``."""
