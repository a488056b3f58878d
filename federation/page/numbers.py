"""How the report writes numbers: an absent one is a dash, and a privacy cost is never rounded down."""

import math
from collections.abc import Iterable

DASH = "–"
Interval = tuple[float, float]


def score(value: float | None, decimals: int = 2) -> str:
    """An AUC, a rate or an error with two decimals, e.g. ``"0.94"``."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def apart(one: float, other: float) -> tuple[str, str]:
    """Two scores side by side, with a third decimal where two would hide which is higher."""
    decimals = 3 if score(one) == score(other) else 2
    return f"{one:.{decimals}f}", f"{other:.{decimals}f}"


def interval(bounds: Interval | None) -> str:
    """``"0.91–0.97"``, or nothing where there is none."""
    return "" if bounds is None else f"{score(bounds[0])}–{score(bounds[1])}"


def with_interval(value: float | None, bounds: Interval | None) -> str:
    """``"0.94 (0.91–0.97)"``; the bounds hold with 95 %."""
    return score(value) if value is None or bounds is None else f"{score(value)} ({interval(bounds)})"


def span(values: Iterable[float], decimals: int = 2) -> str:
    """From the least to the greatest score, e.g. ``"0.87–0.91"``; one number where they round alike."""
    ordered = sorted(values)
    least, greatest = score(ordered[0], decimals), score(ordered[-1], decimals)
    return least if least == greatest else f"{least}–{greatest}"


def cost(epsilon: float | None) -> str:
    """An epsilon, rounded up to two decimals, e.g. ``"7.98"``; what is above zero is never told as zero."""
    if epsilon is None:
        return DASH
    if not math.isfinite(epsilon):
        return "∞"
    hundredths = math.ceil(epsilon * 100 - 1e-9)
    return f"{max(hundredths, 1 if epsilon > 0 else 0) / 100:.12g}"


def percent(share: float) -> str:
    """A share of one; near one it never becomes a certainty by rounding."""
    if share > 0.99995:
        return "more than 99.99\u00a0%"
    return f"{100 * share:.2f}\u00a0%" if share > 0.99 else f"{100 * share:.0f}\u00a0%"


def small(delta: float | None) -> str:
    """A small probability, in decimals and as one in so many, e.g. ``"0.00001 (1 in 100,000)"``."""
    if delta is None:
        return DASH
    if delta <= 0:
        return "0"
    decimals = f"{delta:.{2 - math.floor(math.log10(delta))}f}".rstrip("0")
    return f"{decimals} (1 in {round(1 / delta):,})"


def duration(seconds: float) -> str:
    """``"48 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: int, noun: str) -> str:
    """``"1 round"``, ``"1,018 rounds"``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def runs(numbers: Iterable[int]) -> str:
    """Ascending whole numbers, neighbours drawn together, e.g. ``"4, 7–9"``."""
    stretches: list[list[int]] = []
    for number in numbers:
        if stretches and number == stretches[-1][-1] + 1:
            stretches[-1].append(number)
        else:
            stretches.append([number])
    return ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}–{s[-1]}" for s in stretches)
