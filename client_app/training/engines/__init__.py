"""Engines: ways to one and the same sum of clipped gradients, that differ in time and memory."""
