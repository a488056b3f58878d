"""The trusted side of a hospital: it alone holds data, noise, budget, policy and keys."""
