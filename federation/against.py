"""Whom a study's promise holds against: one ε for each who may be looking, and what it rests on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from federation.promise import epsilon_before
from federation.study import Study

Against = Literal["coordinator", "peer", "everybody"]


@dataclass(frozen=True)
class Guarantee:
    """One of the numbers of a promise.

    Attributes:
        against: who is looking.
        epsilon: what the whole study costs each patient before them, at its δ; None where nothing bounds it.
        assumption: what it rests on, in a sentence.
    """

    against: Against
    epsilon: float | None
    assumption: str


def guarantees(study: Study) -> tuple[Guarantee, ...]:
    """What ``study`` promises, the headline first; nothing without privacy."""
    return tuple(_guarantees(study))


def _guarantees(study: Study) -> Iterable[Guarantee]:
    parties, steps = study.parties, study.total_steps
    if study.privacy.mode == "none":
        return
    if study.privacy.mode != "distributed" or parties is None:
        yield Guarantee(
            "everybody",
            epsilon_before(study, steps, lambda views: views.everybody),
            "Holds even if the coordinator and all other hospitals work together, since each hospital adds "
            "all of the noise itself.",
        )
        return
    yield Guarantee(
        "coordinator",
        epsilon_before(study, steps, lambda views: views.coordinator),
        f"Against the coordinator and up to {parties.colluding} of the {parties.sites} hospitals in league "
        f"with it; rests on the other {parties.honest} or more whose noise is in every sum being honest.",
    )
    yield Guarantee(
        "peer",
        epsilon_before(study, steps, lambda views: views.peer),
        "Against any one other hospital that knows its own share of the noise and sees the models; rests on "
        "its not being in league with the coordinator or with another hospital.",
    )
    yield Guarantee(
        "everybody",
        epsilon_before(study, steps, lambda views: views.everybody),
        "Against the coordinator and all other hospitals together; rests on nobody but the patient's own "
        "hospital, whose share of the noise is all that is left.",
    )
