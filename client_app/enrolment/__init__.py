"""How a hospital comes to know its coordinator, and the coordinator it."""
