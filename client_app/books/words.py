"""What the ledger's page says in words."""

import math

from client_app.audit.words import Fact, Note
from client_app.books.statement import Statement
from client_app.books.told import told
from federation.against import ONLOOKERS
from federation.page.numbers import cost, count, small

_LIMITS = (
    "It counts what studies have taken here. Whoever is treated at two hospitals gives at both; the two add "
    "up, and to more than their sum in a study that shares its noise among hospitals.",
    "What has been given cannot be taken back. A withdrawal ends what is to come; models that were released "
    "stay.",
    "Numbers of patients are told in tens, and small ones not at all: exact ones would tell of single "
    "people.",
)


def limits(statement: Statement) -> tuple[str, ...]:
    """What a reader must not conclude."""
    against = statement.policy.lifetime.against
    whom = "anybody" if against == "everybody" else f"{ONLOOKERS[against]} (and not everybody together)"
    return (
        f"ε bounds what {whom} can learn of a patient from all that has left, however clever they are. It "
        "says nothing of theft of the data themselves.",
        *_LIMITS,
    )


def headline(statement: Statement) -> str:
    """The one sentence that a board should remember."""
    patients, cap = statement.patients, statement.policy.lifetime.epsilon
    if not patients.most:
        return "No patient of this hospital has given anything yet"
    if not math.isfinite(patients.most):
        return "Patients of this hospital were in a study that promised them nothing"
    if patients.most > cap:
        return f"A patient has given more than the ε of {cost(cap)} that this hospital now allows"
    most = f"ε\u00a0=\u00a0{cost(patients.most)}"
    held = any(study.set_aside for study in statement.studies)
    included = ", with what running studies may still take" if held else ""
    return f"No patient has given more than {most} of the {cost(cap)} that are allowed{included}"


def explanation(statement: Statement) -> str:
    """What the numbers are."""
    lifetime = statement.policy.lifetime
    return (
        "Every study that learns from patients lets something be known of each of them; ε says how much at "
        "the very most, and adds up over studies. This hospital has set a limit for a whole life, and its "
        f"ledger writes down each round before it is computed. (δ = {small(lifetime.delta)}, against "
        f"{ONLOOKERS[lifetime.against]}.)"
    )


def facts(statement: Statement) -> list[Fact]:
    """The numbers at the top of the page."""
    patients, policy = statement.patients, statement.policy
    rounds = sum(each.rounds_charged for each in statement.studies)
    begun = sum(each.started is not None for each in statement.studies)
    return [
        Fact(
            "the cap",
            f"ε {cost(policy.lifetime.epsilon)}",
            f"the most a patient may give in all, against {ONLOOKERS[policy.lifetime.against]}",
        ),
        Fact("given at most", f"ε {cost(patients.most)}", "by any patient, or set aside for it"),
        Fact("in the middle", f"ε {cost(patients.median)}", "half of the patients gave no more"),
        Fact("studies", str(begun), f"that learnt here, in {count(rounds, 'round')}"),
        Fact("withdrawn", told(patients.withdrawn, policy.minimum_patients), "left out of all to come"),
    ]


def notes(statement: Statement) -> list[Note]:
    """What must not be overlooked."""
    found = []
    # Of fewer it is not even told that there are any.
    if statement.patients.bands["no budget left"] >= statement.policy.minimum_patients:
        found.append(
            Note(
                "plain",
                "Some patients have no budget left. They are left out of every study to come by themselves.",
            )
        )
    if not math.isfinite(statement.patients.most):
        found.append(
            Note(
                "alarm",
                "A study without noise has run here. For whoever was in it there is no bound, and no budget "
                "for studies that promise one. The figure leaves out what came after it.",
            )
        )
    if _shares_noise(statement) and statement.policy.lifetime.against == "coordinator":
        found.append(
            Note(
                "plain",
                f"The cap looks at {ONLOOKERS['coordinator']}. Some studies here shared the noise among "
                f"hospitals: against {ONLOOKERS['everybody']} they have cost more than it counts, and the "
                "table of studies says how much.",
            )
        )
    waiting = sum(each.state == "waiting" for each in statement.studies)
    if waiting:
        found.append(Note("plain", f"Studies that wait in the inbox: {waiting}."))
    return found


def _shares_noise(statement: Statement) -> bool:
    """Whether a study that has cost anything here cost more before everybody than it promised."""
    return any(each.everybody > each.epsilon for each in statement.studies)


def caption(statement: Statement) -> str:
    """What the figure shows."""
    text = (
        "Each step is a round. Shaded: when a study was held open here. Only what was charged is drawn; what "
        "is set aside counts in the tables as if it were."
    )
    firsts = [moment.most for moment in statement.history if moment.most]
    if not firsts:
        return text
    return (
        f"{text} The reckoning still holds when later studies are chosen after looking at the results of "
        f"earlier ones. Its price is a high first step, here to {cost(firsts[0])}; from there to the cap, "
        "rounds add up."
    )
