"""How many take part in a secure sum, and how many of them may fail in which way.

Letters as in the literature: n sites, c of them colluding, d dropouts, t the threshold. A set of survivors
that t sites have signed is the only one: two sets would need 2 (t - c) honest signers, and there are
n - c, which is fewer since 2t > n + c.
"""

from dataclasses import dataclass

from federation.errors import ConfigError

LEAST_SITES, MOST_SITES = 3, 200
MOST_ROUNDS = 2**16


@dataclass(frozen=True)
class Parties:
    """The sites of a study, counted.

    Attributes:
        sites: how many they are.
        colluding: how many may be in league with the coordinator.
        dropouts: how many a round may lose.

    Raises:
        ConfigError: no sum over them would hide anybody.
    """

    sites: int
    colluding: int
    dropouts: int

    def __post_init__(self) -> None:
        if not LEAST_SITES <= self.sites <= MOST_SITES:
            raise ConfigError(
                f"sites={self.sites}: a sum is over {LEAST_SITES} to {MOST_SITES}; change who takes part"
            )
        if not 0 <= self.colluding <= self.sites - 2:
            raise ConfigError(
                f"colluding={self.colluding} of {self.sites} sites: at least two must be honest, since one "
                f"is no sum; at most {self.sites - 2}"
            )
        remain = max(self.threshold, LEAST_SITES)
        if not 0 <= self.dropouts <= self.sites - remain:
            raise ConfigError(
                f"dropouts={self.dropouts}: {remain} of {self.sites} sites have to remain where "
                f"{self.colluding} may collude; at most {self.sites - remain}, or more sites"
            )

    @classmethod
    def of(cls, sites: int, colluding: int, dropouts: int | None) -> "Parties":
        """These; where nothing is said of dropouts, one of them may, and none where it takes all."""
        if dropouts is not None:
            return cls(sites, colluding, dropouts)
        all_needed = cls(sites, colluding, 0)
        return cls(sites, colluding, min(1, sites - max(all_needed.threshold, LEAST_SITES)))

    @property
    def threshold(self) -> int:
        """Shares that open a secret, and signatures that make a survivor set the only one."""
        return (self.sites + self.colluding) // 2 + 1

    @property
    def min_survivors(self) -> int:
        """The fewest sites that a sum is opened over; with distributed noise, those whose noise suffices."""
        return max(LEAST_SITES, self.colluding + 2, self.sites - self.dropouts)

    @property
    def honest(self) -> int:
        """Of the fewest survivors, those that do not collude: whose noise is in every sum for certain."""
        return self.sites - self.colluding - self.dropouts
