"""What a look at one thing has found, and a table of several."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from federation.command_line import printable

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """See the module.

    Attributes:
        check: what was looked at.
        state: whether it is as it should be.
        found: what was seen.
        remedy: what to do about it; empty where nothing needs to be done.
    """

    check: str
    state: State
    found: str
    remedy: str = ""


def sound(findings: Iterable[Finding]) -> bool:
    """Whether none is a problem."""
    return all(finding.state != "problem" for finding in findings)


def findings_table(findings: Iterable[Finding]) -> Table:
    """A row for each."""
    table = Table(box=SIMPLE_HEAD)
    for name in ("check", "state", "found", "remedy"):
        table.add_column(name, overflow="fold", no_wrap=name in ("check", "state"))
    for each in findings:
        state = each.state if each.state == "ok" else each.state.upper()
        table.add_row(each.check, state, *(escape(printable(text)) for text in (each.found, each.remedy)))
    return table
