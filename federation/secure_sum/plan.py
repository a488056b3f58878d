"""What is agreed before the first round; every site checks it by making it."""

import math
from dataclasses import dataclass
from functools import cached_property

from federation.errors import ConfigError
from federation.secure_sum.parties import Parties
from federation.secure_sum.roster import Members
from federation.secure_sum.transcript import digest

# A sum is read as a signed 32-bit integer.
_LIMIT = 2**31
# Of ten million coordinates, less than one in a thousand rounds has one beyond.
_DEVIATIONS = 6.5


@dataclass(frozen=True)
class Grid:
    """How numbers become integers whose sum over all sites stays within ±2^31.

    Attributes:
        clip_bound: coordinates are clipped to ± this.
        weight_cap: the largest weight that a site's vector may have, and the only one under privacy.
        levels: integers between 0 and ``clip_bound``.
        noise: standard deviation of all sites' noise together, in the unit of ``clip_bound``; 0 for none.
        weight_noise: of the noise on the sum of weights; 0 for none.
    """

    clip_bound: float
    weight_cap: int
    levels: int
    noise: float = 0.0
    weight_noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("clip_bound", "weight_cap", "levels"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(
                    f"{name}={getattr(self, name)} is not above zero; choose a finite one that is"
                )
        for name in ("noise", "weight_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)} is no deviation; choose zero or above")

    @classmethod
    def finest(
        cls, sites: int, clip_bound: float, weight_cap: int, noise: float = 0.0, weight_noise: float = 0.0
    ) -> "Grid":
        """The grid with the most levels on which a sum over ``sites`` does not overflow."""
        coarsest = cls(clip_bound, weight_cap, 1, noise, weight_noise)
        per_level = sites + _DEVIATIONS * noise / coarsest.clip_bound
        return cls(clip_bound, weight_cap, max(1, int((_LIMIT - 1 - sites) / per_level)), noise, weight_noise)

    @property
    def unit(self) -> float:
        """The distance between two neighbouring levels, in the unit of ``clip_bound``."""
        return self.clip_bound / self.levels

    def require_room(self, sites: int) -> None:
        """Refuse a grid on which the worst case of a sum over ``sites`` overflows.

        Raises:
            ConfigError: how far it reaches, and what would fit.
        """
        reach = sites * (self.levels + 1) + _DEVIATIONS * self.noise / self.unit
        if reach >= _LIMIT:
            raise ConfigError(
                f"levels={self.levels} with {sites} sites and noise={self.noise:g} reaches {reach:.4g}, "
                f"and a sum holds less than 2^31; use Grid.finest"
            )
        weights = sites * self.weight_cap + _DEVIATIONS * self.weight_noise
        if weights >= _LIMIT:
            raise ConfigError(
                f"weight_cap={self.weight_cap} with {sites} sites and weight_noise={self.weight_noise:g} "
                f"reaches {weights:.4g}, and a sum holds less than 2^31; lower it"
            )


@dataclass(frozen=True)
class Plan:
    """What all sites of a study agree on.

    Attributes:
        study: the study's id.
        roster: hash of the study's sites with their keys.
        sites: how many they are.
        colluding: how many may be in league with the coordinator.
        dropouts: how many a round may lose.
        grid: of the numbers.
    """

    study: str
    roster: str
    sites: int
    grid: Grid
    colluding: int = 1
    dropouts: int = 0

    def __post_init__(self) -> None:
        self.grid.require_room(self.parties.sites)

    @cached_property
    def parties(self) -> Parties:
        """How many of them may do what."""
        return Parties(self.sites, self.colluding, self.dropouts)

    @property
    def threshold(self) -> int:
        """See ``Parties``."""
        return self.parties.threshold

    @property
    def min_survivors(self) -> int:
        """See ``Parties``."""
        return self.parties.min_survivors

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of all of it; 32 bytes."""
        grid = self.grid
        return digest(
            "plan",
            self.study,
            self.roster,
            (self.sites, self.colluding, self.dropouts, self.threshold, self.min_survivors),
            (float(grid.clip_bound), grid.weight_cap, grid.levels),
            (float(grid.noise), float(grid.weight_noise)),
        )

    def require_roster(self, roster: Members) -> None:
        """Refuse a roster that is not the plan's.

        Raises:
            ConfigError: by hash or by number of members.
        """
        if roster.hash != self.roster or len(roster.keys) != self.sites:
            raise ConfigError(
                f"roster {roster.hash[:12]} with {len(roster.keys)} sites is not that of the plan, "
                f"{self.roster[:12]} with {self.sites}; take the one that the study names"
            )
