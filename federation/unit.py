"""What every ε in this house speaks of, in the few words that stand beside it wherever people read one."""

from typing import Literal, get_args

Unit = Literal["patient"]
Adjacency = Literal["add or remove one patient"]

(UNIT,) = get_args(Unit)
(ADJACENCY,) = get_args(Adjacency)


def at_delta(delta: float | None) -> str:
    """What holds beside the number, e.g. ``"per patient (add or remove one patient) at δ = 1e-05"``."""
    return f"per {UNIT} ({ADJACENCY})" + ("" if delta is None else f" at δ = {delta:g}")
