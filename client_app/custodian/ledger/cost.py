"""What a study takes from a patient, as the ledger keeps it: two events, one for each who may be looking."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from client_app.custodian.policy import Against, Lifetime
from federation.accounting import RdpFilter, Spend
from federation.promise import evaluation_noise, noise_multiplier, seen
from federation.study import Study

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Cost:
    """Some steps of the subsampled Gaussian mechanism, seen by two.

    Attributes:
        steps: how many.
        sampling_rate: q, the chance of a patient to be in a step.
        noise_everybody: noise multiplier of what everybody sees; None is no noise, and no bound.
        noise_coordinator: noise multiplier of what the coordinator and the sites that collude with it see.
    """

    steps: int
    sampling_rate: float
    noise_everybody: float | None
    noise_coordinator: float | None

    def spend(self, against: Against) -> Spend | None:
        """What ``against`` has learnt; None if there is no bound."""
        noise = self.noise_everybody if against == "everybody" else self.noise_coordinator
        return None if noise is None else Spend(noise, self.sampling_rate, self.steps)


History = Sequence[Cost]


def training_cost(study: Study, steps: int) -> Cost:
    """What ``steps`` steps of ``study`` cost a patient who learns."""
    return cost_of(study, steps, study.privacy.sampling_rate, noise_multiplier(study))


def evaluation_cost(study: Study) -> Cost:
    """What the evaluation of ``study`` costs a held-out patient: one histogram, which all of them are in."""
    return cost_of(study, 1, 1.0, evaluation_noise(study))


def cost_of(study: Study, steps: int, sampling_rate: float, noise: float | None) -> Cost:
    """What steps of ``study`` with this noise multiplier cost; where noise is distributed, before whom."""
    if noise is None:
        return Cost(steps, sampling_rate, noise_everybody=None, noise_coordinator=None)
    views = seen(study, noise)
    return Cost(steps, sampling_rate, noise_everybody=views.everybody, noise_coordinator=views.coordinator)


@dataclass(frozen=True)
class Cap:
    """The most that a patient may ever give, over all studies.

    Guarantee: that of ``RdpFilter``, with what ``against`` sees.
    """

    filter: RdpFilter
    against: Against

    @classmethod
    def of(cls, lifetime: Lifetime) -> "Cap":
        """That of a hospital's policy."""
        return cls(RdpFilter(lifetime.epsilon, lifetime.delta), lifetime.against)

    def allows(self, history: History, planned: Cost) -> bool:
        """Whether a patient with ``history`` may take part in all of ``planned``.

        A plan without noise has no bound that a cap could hold; whether a site runs such studies at all is
        its policy's to say. Whoever was in one has no budget left for those that promise something.
        """
        asked = planned.spend(self.against)
        if asked is None:
            return True
        known = self._known(history)
        return known is not None and self.filter.can_spend(known, asked)

    def share(self, history: History) -> float:
        """How much of the cap ``history`` has used, 1 is all of it; infinite if part of it has no bound."""
        known = self._known(history)
        return math.inf if known is None else self.filter.spent(known) / self.filter.budget

    def epsilon(self, share: float) -> float:
        """The ε, at the cap's δ, that has been given where ``share`` of the cap is used.

        Guarantee: that of the class, so it holds also where studies were chosen after looking at earlier
        ones. Its price is that the first study costs the most, however small.
        """
        start = self.filter.epsilon - self.filter.budget
        return start + share * self.filter.budget if share else 0.0

    def left(self, history: History) -> float | None:
        """What of ε a patient with ``history`` has left to give; None where nothing bounds what was given.

        In the filter's terms: its (α, ρ)-RDP budget less what was spent, which is ε less ε spent.
        """
        known = self._known(history)
        return None if known is None else max(0.0, self.filter.budget - self.filter.spent(known))

    def _known(self, history: History) -> list[Spend] | None:
        """What was spent; None if part of it has no bound."""
        spends = [cost.spend(self.against) for cost in history]
        known = [spend for spend in spends if spend is not None]
        return known if len(known) == len(spends) else None
