"""The secure sums of a study: its plan, and the grids on which its numbers are integers.

Both sides compute them, and they have to be equal, so what floating point could round differently elsewhere
is rounded up to a power of two first.
"""

import math
from dataclasses import replace

from federation.errors import ConfigError, PrivacyError
from federation.messages import BINS
from federation.noise_share import LEAST_SHARE
from federation.promise import evaluation_noise, noise_multiplier, seen
from federation.secure_sum.parties import Parties
from federation.secure_sum.plan import Grid, Plan
from federation.secure_sum.roster import Members
from federation.study import SecureSumSpec, Study

# Of updates, in parameters; of patients' gradients, in clipping norms; of histograms, in patients a bin.
_UPDATE, _GRADIENTS, _COUNT = 16.0, 1000.0, 2.0**14
# Levels in what one patient can move; with more of them, noise drawn in floating point would have gaps.
_FINEST = 2**20


def plan_of(study: Study, members: Members, trainable: int) -> Plan:
    """What all sites of ``study`` agree on.

    Args:
        study: one with secure sums.
        members: its participants with their keys.
        trainable: how many parameters learn.

    Raises:
        ConfigError: the study has no secure sums, or its numbers do not fit on the grid.
    """
    _, parties = _sums(study)
    return Plan(
        study=study.id,
        roster=members.hash,
        sites=parties.sites,
        grid=training_grid(study, trainable),
        colluding=parties.colluding,
        dropouts=parties.dropouts,
    )


def training_grid(study: Study, trainable: int) -> Grid:
    """The grid of a round's numbers, ``[trainable]``.

    Raises:
        ConfigError: as for ``plan_of``.
        PrivacyError: there is no such noise, or a site's share of it is too small for the grid.
    """
    spec, _ = _sums(study)
    norm = study.privacy.clipping_norm
    if study.privacy.mode != "distributed" or norm is None:
        bound = _UPDATE if spec.clip_bound is None else spec.clip_bound
        return _finest(study, bound, spec.weight_cap)
    bound = _GRADIENTS * norm if spec.clip_bound is None else spec.clip_bound
    return _with_noise(study, bound, norm, trainable, noise_multiplier(study))


def evaluation_grid(study: Study) -> Grid:
    """The grid of the counts of a score histogram, ``[2 * BINS]``.

    Raises:
        ConfigError: as for ``plan_of``.
        PrivacyError: as for ``training_grid``.
    """
    if study.privacy.mode != "distributed":
        return _finest(study, _COUNT, 1)
    return _with_noise(study, _COUNT, 1.0, 2 * BINS, evaluation_noise(study))


def share_deviation(study: Study, noise: float, sensitivity: float, numbers: int, grid: Grid) -> float:
    """Standard deviation of one site's share of noise, in levels of ``grid``.

    Rounding ``numbers`` numbers has raised the sensitivity (L2) by at most the root of ``numbers`` levels.

    Args:
        study: one with distributed noise.
        noise: multiplier of what stands before the coordinator.
        sensitivity: what one patient can move a site's numbers, L2.
        numbers: how many numbers a site sends.
        grid: on which.
    """
    return seen(study, noise).everybody * (sensitivity / grid.unit + math.sqrt(numbers))


def _with_noise(study: Study, bound: float, sensitivity: float, numbers: int, noise: float | None) -> Grid:
    _, parties = _sums(study)
    if noise is None:
        raise PrivacyError("distributed noise, and no noise is asked for; give privacy.epsilon")
    # What rounding adds is at most as much again, which is seen to below.
    together = 2 * seen(study, noise).everybody * sensitivity * math.sqrt(parties.sites)
    grid = Grid.finest(parties.sites, bound, 1, noise=2.0 ** math.ceil(math.log2(together)))
    grid = replace(grid, levels=min(grid.levels, int(_FINEST * bound / sensitivity)))
    _require_share(share_deviation(study, noise, sensitivity, numbers, grid), sensitivity, numbers, grid)
    return grid


def _require_share(share: float, sensitivity: float, numbers: int, grid: Grid) -> None:
    """That a share of so many levels is noise, and rounding adds less than the data to what it hides."""
    if share < LEAST_SHARE or math.sqrt(numbers) > sensitivity / grid.unit:
        raise PrivacyError(
            f"a site's share of noise is {share:.0f} levels of a grid up to ±{grid.clip_bound:g}, where "
            f"rounding {numbers:,} numbers moves up to {math.sqrt(numbers):.0f} and a patient "
            f"{sensitivity / grid.unit:.0f}; lower secure_sum.clip_bound"
        )


def _finest(study: Study, bound: float, weight_cap: int) -> Grid:
    _, parties = _sums(study)
    return Grid.finest(parties.sites, bound, weight_cap)


def _sums(study: Study) -> tuple[SecureSumSpec, Parties]:
    if study.secure_sum is None or study.parties is None:
        raise ConfigError(f"aggregation={study.aggregation}: study {study.name} has no secure sums")
    return study.secure_sum, study.parties
