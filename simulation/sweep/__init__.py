"""Several runs that differ in some settings, side by side, and the report that compares them."""
