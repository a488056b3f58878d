"""A whole federation on one workstation; the only place that may see both sides."""
