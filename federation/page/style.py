"""One look for page and figures: colours, a blank figure, and a figure turned into inline SVG.

The categorical colours are those of Okabe & Ito (2008), told apart by colour-blind readers; figures never
rely on colour alone: sites also differ by marker and carry their name.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from html import escape
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

# Figures are drawn in the light colours; in the SVG each becomes a CSS variable, so dark mode is free.
LIGHT = {
    "ink": "#1b1f24",
    "muted": "#59636e",
    "grid": "#dfe3e8",
    "paper": "#ffffff",
    "wash": "#f4f6f8",
    "model": "#0072b2",
    "alarm": "#d55e00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "sky": "#56b4e9",
    "orange": "#e69f00",
}
DARK = LIGHT | {
    "ink": "#e8ebee",
    "muted": "#a3adb8",
    "grid": "#363d45",
    "paper": "#15181c",
    "wash": "#1e2328",
    "model": "#5db7ee",
    "alarm": "#ff8a3d",
    "green": "#2cc79c",
    "sky": "#a9d8f5",
}
INK, MUTED, GRID, PAPER = LIGHT["ink"], LIGHT["muted"], LIGHT["grid"], LIGHT["paper"]
MODEL, ALARM = LIGHT["model"], LIGHT["alarm"]
# A site's colour is never that of the model, and its marker repeats at another period than its colour.
_SITE_COLOURS = (LIGHT["alarm"], LIGHT["green"], LIGHT["purple"], LIGHT["orange"], LIGHT["sky"])
_SITE_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# One width for all: at 432 units, type of 11 units stays legible on a telephone and calm on a desk.
WIDTH_INCHES = 6.0
_SETTINGS: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, and set in the reader's own system font
    "text.parse_math": False,  # a hospital may have a dollar sign in its name
    "text.color": INK,
    "font.size": 11.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "lines.linewidth": 1.2,
    "lines.markersize": 5.0,
}


def site_look(index: int) -> tuple[str, str]:
    """Colour and marker of the site at ``index``, the same in every figure."""
    return _SITE_COLOURS[index % len(_SITE_COLOURS)], _SITE_MARKERS[index % len(_SITE_MARKERS)]


def short(name: str, limit: int = 16) -> str:
    """A name that fits beside a figure; names tend to differ at their ends, and tables carry them whole."""
    half = limit // 2
    return name if len(name) <= limit else f"{name[: limit - half]}…{name[1 - half :]}"


def blank(height_inches: float = 3.6) -> tuple[Figure, Axes]:
    """An empty figure in the house style; call inside ``drawing()``."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained", facecolor="none")
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    return figure, axes


def drawing() -> AbstractContextManager[None]:
    """The settings under which a figure is drawn and saved; they end with the ``with`` block."""
    return mpl.rc_context(_SETTINGS)


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights near ``values`` that keep ``gap`` between them and stay within ``low`` and ``high``."""
    placed = list(values)
    order = sorted(range(len(placed)), key=lambda index: values[index])
    floor = low
    for index in order:
        floor = placed[index] = max(placed[index], floor)
        floor += gap
    ceiling = high
    for index in reversed(order):
        ceiling = placed[index] = min(placed[index], ceiling)
        ceiling -= gap
    return placed


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an ``<svg>`` element to be put into a page, byte for byte the same for the same figure.

    Args:
        figure: drawn under ``drawing()``.
        name: unique on the page; keeps the ids of one figure apart from those of the next.
        description: read out in place of the picture.
    """
    buffer = StringIO()
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # HTML knows SVG without its name spaces, and gets by without the names that matplotlib gives to groups.
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    # Type and line joins come from the page, as for all other text.
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    for colour, value in LIGHT.items():
        svg = re.sub(rf"(fill|stroke): {value}", rf"\1: var(--{colour})", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1).strip()
