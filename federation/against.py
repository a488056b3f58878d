"""Whom a study's promise holds against: one ε for each who may be looking, and what it rests on.

Every sentence about that stands here, so that a report, a model card and a hospital's own pages say the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from federation.noise_share import Views
from federation.page.numbers import cost
from federation.promise import epsilon_before, evaluation_epsilon_before, evaluation_noise
from federation.secure_sum.parties import Parties
from federation.study import Study

Against = Literal["coordinator", "peer", "everybody"]

# Who is looking, where no study says how many of them there are.
ONLOOKERS: dict[Against, str] = {
    "coordinator": "the coordinator and the hospitals in league with it",
    "peer": "a single other hospital",
    "everybody": "everybody together",
}
APART = "each by itself, so that the coordinator sees it"


@dataclass(frozen=True)
class Guarantee:
    """One of the numbers of a promise.

    Attributes:
        against: who is looking.
        title: the same in words, e.g. ``"the coordinator with 1 of 4 hospitals"``.
        epsilon: what the whole study costs each patient before them, at its δ; None where nothing bounds it.
        assumption: what it rests on, or why there is none, in a sentence.
    """

    against: Against
    title: str
    epsilon: float | None
    assumption: str


class Told(Protocol):
    """A guarantee, also as a record keeps it."""

    @property
    def title(self) -> str:
        """Who is looking."""

    @property
    def epsilon(self) -> float | None:
        """What it costs."""


_Cost = Callable[[Callable[[Views], float]], float | None]
_UNBOUNDED = "Nothing bounds what they can learn: too little of the noise stands before them."


def guarantees(study: Study) -> tuple[Guarantee, ...]:
    """What ``study`` promises whoever learns, the headline first; nothing without privacy."""
    return _guarantees(study, lambda whom: epsilon_before(study, study.total_steps, whom))


def evaluation_guarantees(study: Study) -> tuple[Guarantee, ...]:
    """The same for whoever is held out; nothing without an evaluation."""
    if evaluation_noise(study) is None:
        return ()
    return _guarantees(study, lambda whom: evaluation_epsilon_before(study, whom))


def headline(study: Study) -> str:
    """Whom the ε that ``study`` names is against; empty without privacy."""
    if study.privacy.mode == "none":
        return ""
    distributed = _distributed(study)
    return ONLOOKERS["everybody"] if distributed is None else _coordinator(distributed)


def travel(study: Study) -> str:
    """How updates get to the coordinator, as the end of a sentence: ``"updates travel …"``."""
    parties = study.parties
    if parties is None:
        return APART
    return f"in secure sums over at least {parties.min_survivors} of {parties.sites} hospitals"


def league(study: Study) -> str:
    """How many may be in league with the coordinator before a sum hides no update; empty without sums."""
    parties = study.parties
    if parties is None:
        return ""
    many = f"up to {parties.colluding}" if parties.colluding else "none"
    return f"{many} of them in league with the coordinator"


def in_words(guarantees: Iterable[Told]) -> str:
    """E.g. ``"ε = 3 against a single other hospital, no bound against everybody together"``."""
    return ", ".join(f"{bounded(each.epsilon)} against {each.title}" for each in guarantees)


def bounded(epsilon: float | None) -> str:
    """``"ε = 3"``, rounded up, or ``"no bound"``."""
    return "no bound" if epsilon is None else f"ε = {cost(epsilon)}"


def _guarantees(study: Study, epsilon: _Cost) -> tuple[Guarantee, ...]:
    return tuple(
        each if each.epsilon is not None else replace(each, assumption=_UNBOUNDED)
        for each in _with_assumptions(study, epsilon)
    )


def _with_assumptions(study: Study, epsilon: _Cost) -> Iterable[Guarantee]:
    parties = _distributed(study)
    if study.privacy.mode == "none":
        return
    if parties is None:
        yield Guarantee(
            "everybody",
            ONLOOKERS["everybody"],
            epsilon(lambda views: views.everybody),
            "Holds even if the coordinator and all other hospitals work together, since each hospital adds "
            "all of the noise itself.",
        )
        return
    yield Guarantee(
        "coordinator",
        _coordinator(parties),
        epsilon(lambda views: views.coordinator),
        f"Holds as long as {_others(parties)} in league with the coordinator: the noise of at least "
        f"{parties.honest} honest hospitals is in every sum.",
    )
    yield Guarantee(
        "peer",
        ONLOOKERS["peer"],
        epsilon(lambda views: views.peer),
        "Holds as long as that hospital is in league with nobody: it knows its own share of the noise, and "
        "sees the models.",
    )
    yield Guarantee(
        "everybody",
        ONLOOKERS["everybody"],
        epsilon(lambda views: views.everybody),
        "Holds even if the coordinator and all other hospitals work together: all that is left then is the "
        "share of the noise that the patient's own hospital adds.",
    )


def _distributed(study: Study) -> Parties | None:
    """Who shares the noise; None where each site adds all of it, or nobody any."""
    return study.parties if study.privacy.mode == "distributed" else None


def _coordinator(parties: Parties) -> str:
    return f"the coordinator with {parties.colluding} of {parties.sites} hospitals"


def _others(parties: Parties) -> str:
    verb = "is" if parties.colluding == 1 else "are"
    return f"no more than {parties.colluding} of {parties.sites} hospitals {verb}"
