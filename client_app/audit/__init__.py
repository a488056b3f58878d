"""Attacks on our own protection: what a hospital runs before it believes a promise of privacy."""
