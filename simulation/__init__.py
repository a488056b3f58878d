"""Whole federations of simulated hospitals; the only place that may see both sides."""
