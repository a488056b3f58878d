"""The statement as tables for a terminal."""

import math

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from client_app.books.statement import Statement, StudyAccount
from client_app.books.told import told
from federation.against import ONLOOKERS
from federation.command_line import printable
from federation.page.numbers import cost

_SHORT = 12


def studies_table(statement: Statement) -> Table:
    """A row for each study."""
    table = Table(box=SIMPLE_HEAD, title=f"Studies at {statement.site}", title_justify="left")
    table.caption = "ε so far is against whom the study promised it."
    names = (
        "study|title|state|approved by|until|rounds charged|released|steps|set aside still|ε so far"
        f"|ε against {ONLOOKERS['everybody']}"
    )
    for name in names.split("|"):
        table.add_column(name, overflow="fold")
    for each in statement.studies:
        study, approval = each.proposal.study, each.proposal.approval
        table.add_row(
            study.id[:_SHORT],
            escape(printable(study.title)),
            each.state,
            "" if approval is None else escape(printable(approval.by)),
            "" if approval is None else str(approval.until),
            f"{each.rounds_charged} of {study.rounds}",
            str(each.rounds_released),
            f"{each.steps} of {study.total_steps}",
            f"{each.set_aside} steps, to ε {cost(each.epsilon_set_aside)}" if each.set_aside else "nothing",
            _at_delta(each, each.epsilon),
            _at_delta(each, each.everybody),
        )
    return table


def patients_table(statement: Statement) -> Table:
    """How much of the lifetime's cap patients have used."""
    lifetime, minimum = statement.policy.lifetime, statement.policy.minimum_patients
    patients = statement.patients
    cap = (
        f"used of the cap of ε {cost(lifetime.epsilon)} at δ {lifetime.delta:g} against "
        f"{ONLOOKERS[lifetime.against]}"
    )
    table = Table(cap, "patients", box=SIMPLE_HEAD, title="Patients", title_justify="left")
    if not statement.patients.count:
        table.add_row("nothing", "nobody has given anything yet")
        table.add_row("withdrawn", told(patients.withdrawn, minimum))
        return table
    for band, count in patients.bands.items():
        table.add_row(band, told(count, minimum))
    table.add_section()
    table.add_row("most that anybody has given", f"ε {cost(patients.most)}")
    table.add_row("given by the one in the middle", f"ε {cost(patients.median)}")
    table.add_row(
        f"with room for a study of ε {cost(statement.policy.maximum_epsilon)}", told(patients.room, minimum)
    )
    table.add_row("withdrawn", told(patients.withdrawn, minimum))
    return table


def _at_delta(account: StudyAccount, epsilon: float) -> str:
    """What the study has cost, at its δ; where it promises nothing there is no bound."""
    delta = account.proposal.study.privacy.delta
    if not math.isfinite(epsilon):
        return "no bound"
    return f"{cost(epsilon)}" + ("" if delta is None else f" at δ {delta:g}")
