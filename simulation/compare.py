"""The same recipe without the federation: each hospital alone, and everybody's patients in one place."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from client_app.site import simulated_site
from federation.config import RunConfig, compose_run
from federation.tasks import Cohort
from server_app.record import Comparison, Measurement
from simulation.engine import quoted, run_inline
from simulation.observer import Judge, Keeper

# What a comparison decides by itself, whatever the run was told.
_OWN = ("federation", "quorum", "run_dir", "compare", "privacy")


def compare(
    overrides: Sequence[str], run: RunConfig, cohorts: Mapping[str, Cohort], folder: Path
) -> Comparison:
    """Train every hospital alone, all patients pooled, and pooled without privacy.

    Each is a run like any other, in a folder of its own below ``comparison``; all are measured on the test
    patients of all hospitals.
    """
    everybody = list(run.federation.sites)
    kept = [item for item in overrides if _concern(item) not in _OWN]
    privacy = [item for item in overrides if _concern(item) == "privacy"]
    without = ["privacy=none", f"privacy.sampling_rate={run.study.privacy.sampling_rate}"]

    def trained(name: str, sites: list[str], promise: Sequence[str]) -> Measurement:
        changes = _one_hospital(run, sites, folder / "comparison" / name)
        return _trained([*kept, *promise, *changes], cohorts)

    return Comparison(
        alone={site: trained(f"alone-{site}", [site], privacy) for site in everybody},
        pooled=trained("pooled", everybody, privacy),
        pooled_without_privacy=(
            trained("pooled-without-privacy", everybody, without) if _may_go_without(run) else None
        ),
    )


def _may_go_without(run: RunConfig) -> bool:
    """Whether the hospitals allow a run without privacy, if only for comparison."""
    sites = [simulated_site(run.federation, run.site, name) for name in run.federation.sites]
    return all("none" in site.policy.privacy_modes for site in sites)


def _concern(override: str) -> str:
    """The group or setting that an override is about: ``privacy`` for ``++privacy.epsilon=3``."""
    return override.lstrip("+~").split("=")[0].split(".")[0]


def _one_hospital(run: RunConfig, sites: list[str], folder: Path) -> list[str]:
    """The overrides that give one hospital the patients of ``sites``."""
    data = [simulated_site(run.federation, run.site, site).data for site in sites]
    parts = ",".join(str(part) for share in data for part in share.parts)
    return [
        "federation=alone",
        f"federation.sites.alone.data.parts=[{parts}]",
        f"federation.sites.alone.data.of={data[0].of}",
        "quorum=1",
        "compare=false",
        f"run_dir={quoted(folder)}",
    ]


def _trained(overrides: Sequence[str], cohorts: Mapping[str, Cohort]) -> Measurement:
    keeper = Keeper()
    run_inline(overrides, 1, keeper)
    pooled, _ = Judge(compose_run(overrides).study, cohorts).judge(keeper.released)
    return pooled
