"""The same recipe in other settings: each hospital alone, everybody pooled, with and without privacy."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from client_app.site import simulated_site
from federation.config import RunConfig, compose_run
from federation.overrides import quoted, setting_of
from federation.tasks import Cohort
from server_app.record import Comparison, Measurement, WithoutPrivacy
from simulation.engine import run_inline
from simulation.observer import Judge, Keeper

# What a comparison decides by itself, whatever the run was told.
_OWN = ("run_dir", "resume", "compare", "privacy", "aggregation", "secure_sum")
_WHO = ("federation", "quorum")


class Comparer:
    """Trains what a run is compared with.

    Each is a run like any other, in a folder of its own below ``comparison``; all are measured on the test
    patients of all hospitals. A single hospital has nobody to make sums with and adds all of the noise
    itself, so beside distributed noise stands local noise of the same promise, in as many rounds and steps.

    Args:
        overrides: of the run.
        run: what they compose.
        cohorts: the hospitals' patients.
        folder: the run's.
    """

    def __init__(
        self, overrides: Sequence[str], run: RunConfig, cohorts: Mapping[str, Cohort], folder: Path
    ) -> None:
        self._run = run
        self._cohorts = cohorts
        self._folder = folder / "comparison"
        self._kept = [item for item in overrides if _concern(item) not in _OWN]
        self._kept += ["aggregation=plain", "secure_sum=null"]
        self._privacy = [item for item in overrides if _concern(item) == "privacy"]
        if run.study.privacy.mode == "distributed":
            self._privacy.append("privacy.mode=local")
            # The study's, of which composing has made those of one step each.
            self._kept += [f"rounds={run.study.rounds}", f"training.steps={run.study.training.steps}"]

    def compare(self) -> Comparison:
        """Everything that stands beside the run."""
        everybody = list(self._run.federation.sites)
        without = None
        if self._run.study.privacy.mode != "none" and _may_go_without(self._run):
            nothing = ["privacy=none", f"privacy.sampling_rate={self._run.study.privacy.sampling_rate}"]
            without = WithoutPrivacy(
                alone={site: self._one(f"{site}-without", [site], nothing) for site in everybody},
                together=self._trained("together-without", self._kept, nothing, len(everybody)),
                pooled=self._one("pooled-without", everybody, nothing),
            )
        return Comparison(
            alone={site: self._one(site, [site], self._privacy) for site in everybody},
            pooled=self._one("pooled", everybody, self._privacy),
            without_privacy=without,
        )

    def _one(self, name: str, sites: list[str], promise: Sequence[str]) -> Measurement:
        """A run of one hospital that has the patients of ``sites``."""
        data = [simulated_site(self._run.federation, self._run.site, site).data for site in sites]
        parts = ",".join(str(part) for share in data for part in share.parts)
        changes = [
            "federation=alone",
            f"federation.sites.alone.data.parts=[{parts}]",
            f"federation.sites.alone.data.of={data[0].of}",
            "quorum=1",
        ]
        kept = [item for item in self._kept if _concern(item) not in _WHO]
        return self._trained(name, [*kept, *changes], promise, 1)

    def _trained(
        self, name: str, overrides: Sequence[str], promise: Sequence[str], hospitals: int
    ) -> Measurement:
        keeper = Keeper()
        folder = self._folder / name
        # A run that was broken off goes on with its comparisons, too.
        where = f"{'resume' if (folder / 'run.json').exists() else 'run_dir'}={quoted(folder)}"
        overrides = [*overrides, *promise, where, "compare=false", "audit=false", "evaluation=null"]
        run_inline(overrides, hospitals, keeper)
        pooled, _ = Judge(compose_run(overrides).study, self._cohorts).judge(keeper.released)
        return pooled


def _may_go_without(run: RunConfig) -> bool:
    """Whether the hospitals allow a run without privacy, if only for comparison."""
    sites = [simulated_site(run.federation, run.site, name) for name in run.federation.sites]
    return all("none" in site.policy.privacy_modes for site in sites)


def _concern(override: str) -> str:
    """The group or setting that an override is about: ``privacy`` for ``++privacy.epsilon=3``."""
    return setting_of(override).split(".")[0]
