"""The frame of a page that is one file, asks the network for nothing and looks like all the others."""

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from federation.page import numbers, style
from federation.page.stylesheet import STYLE


def template_of(page: str) -> Template:
    """A page in the house style, whose template includes ``report.css.j2`` and is handed names by its user.

    The colours and the way to write numbers are known to every page.
    """
    environment = Environment(
        loader=DictLoader({"report.html.j2": page, "report.css.j2": STYLE}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(number=numbers, light=style.LIGHT, dark=style.DARK)
    return environment.get_template("report.html.j2")
