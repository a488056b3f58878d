"""How a coordinator comes to know hospitals and researchers, and keeps its gateway and SuperLink told."""
