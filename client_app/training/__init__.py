"""Learning from a hospital's patients under differential privacy."""
