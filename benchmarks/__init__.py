"""What is claimed to be fast or accurate, measured: ``./scripts/bench NAME``."""
