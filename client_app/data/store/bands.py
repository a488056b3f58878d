"""Sizes as the few ranges that people think in."""

_EDGES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def band(size: float) -> str:
    """The range that a positive size is in, e.g. ``"3 to 5"``: with its lower end, without its upper one."""
    below = [edge for edge in _EDGES if edge <= size]
    above = [edge for edge in _EDGES if edge > size]
    if not below:
        return f"below {above[0]}"
    return f"{below[-1]} to {above[0]}" if above else f"{below[-1]} and more"
