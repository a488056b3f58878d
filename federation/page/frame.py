"""The frame of a page that is one file, asks the network for nothing and looks like all the others."""

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from federation.page import numbers, style
from federation.page.stylesheet import STYLE
from federation.page.template import FRAME, MACROS


def template_of(page: str) -> Template:
    """A page in the house style, whose template fills the blocks of ``frame.html.j2``.

    It may import from ``macros.html.j2``, has to be handed ``facts`` beside its own names, and knows the
    colours and the way to write numbers.
    """
    shared = {"frame.html.j2": FRAME, "macros.html.j2": MACROS, "style.css.j2": STYLE}
    environment = Environment(
        loader=DictLoader({**shared, "page.html.j2": page}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(number=numbers, light=style.LIGHT, dark=style.DARK)
    return environment.get_template("page.html.j2")
