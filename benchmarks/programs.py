"""Real programs, as tests and benchmarks start them; their home is ``simulation.programs``."""

from simulation.programs import BIN, ROOT, Programs, free_ports

__all__ = ["BIN", "ROOT", "Programs", "free_ports"]
