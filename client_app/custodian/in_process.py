"""Custodians inside the relay's own process, for simulation only.

Each simulated hospital has a folder ``sites/<name>`` in the run's folder, and one custodian that stays warm
between messages. Where the study has secure sums, their roster lies in the run's folder, and each has pinned
it.
"""

from functools import lru_cache
from pathlib import Path
from threading import Lock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.custodian.ledger.ledger import Ledger
from client_app.site import simulated_site
from federation.config import ROSTER_FILE, RunConfig, compose_run, run_folder
from federation.files import locked
from federation.key_files import kept_key
from federation.record_files import write_record
from federation.roster_files import read_roster
from federation.secure_sum.roster import Roster, SiteKey

_lock = Lock()


class SimulatedHospitals:
    """The custodians of one run, each made when it is first asked for."""

    def __init__(self, overrides: tuple[str, ...], run_id: int) -> None:
        self._run = compose_run(overrides)
        self._folder = run_folder(self._run, f"flower-{run_id}")
        self._custodians: dict[str, Custodian] = {}
        self._roster = self._made_roster() if self._run.study.secure_sum is not None else None

    def _made_roster(self) -> Roster:
        """The roster of all hospitals; of several processes the first makes it."""
        path, seed = self._folder / ROSTER_FILE, self._run.options.seed
        with locked(self._folder / "roster.lock", wait=True):
            if not path.exists():
                public = {
                    name: _keys(self._folder / "sites" / name, seed, name).public
                    for name in self._run.federation.sites
                }
                write_record(path, Roster.signed(self._coordinator, 1, public))
            return read_roster(path)

    @property
    def _coordinator(self) -> Ed25519PrivateKey:
        seed = self._run.options.seed
        if seed is not None:
            return SiteKeys.seeded(seed, "coordinator").identity
        return Ed25519PrivateKey.from_private_bytes(kept_key(self._folder / "roster.key"))

    def custodian(self, position: int) -> Custodian:
        """The custodian of hospital number ``position`` (0, 1, ...) of the federation."""
        name = list(self._run.federation.sites)[position]
        if name not in self._custodians:
            site = simulated_site(self._run.federation, self._run.site, name)
            folder = self._folder / "sites" / name
            keys = _keys(folder, self._run.options.seed, name)
            custodian = self._custodians[name] = Custodian(site, folder, keys)
            if self._roster is not None:
                custodian.roster.pin(self._roster, SiteKey(site=name, key=keys.public))
        return self._custodians[name]


@lru_cache(maxsize=1)
def _hospitals(overrides: tuple[str, ...], run_id: int) -> SimulatedHospitals:
    return SimulatedHospitals(overrides, run_id)


def simulated_custodian(overrides: tuple[str, ...], run_id: int, position: int) -> Custodian:
    """The custodian of hospital number ``position`` of the Flower run ``run_id``.

    Only the hospitals of the latest run are kept.
    """
    with _lock:
        return _hospitals(overrides, run_id).custodian(position)


def steps_charged(run: RunConfig, folder: Path, name: str) -> int:
    """The optimiser steps that hospital ``name`` of the run in ``folder`` has charged."""
    site, seed = folder / "sites" / name, run.options.seed
    if not (site / "ledger.sqlite").exists():
        return 0
    ledger = Ledger(site / "ledger.sqlite", _keys(site, seed, name).owner)
    charge = ledger.budget.last(run.study.id, "train")
    ledger.close()
    return 0 if charge is None else charge.steps


def _keys(site: Path, seed: int | None, name: str) -> SiteKeys:
    return SiteKeys.kept_in(site) if seed is None else SiteKeys.seeded(seed, name)
