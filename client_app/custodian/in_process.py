"""Custodians inside the relay's own process, for simulation only.

Each simulated hospital has a folder ``sites/<name>`` in the run's folder, and one custodian that stays warm
between messages.
"""

import hashlib
from functools import lru_cache
from threading import Lock

from client_app.custodian.custodian import Custodian
from client_app.custodian.state import site_secret
from client_app.site import simulated_site
from federation.config import compose_run, run_folder

_lock = Lock()


class SimulatedHospitals:
    """The custodians of one run, each made when it is first asked for."""

    def __init__(self, overrides: tuple[str, ...], run_id: int) -> None:
        self._run = compose_run(overrides)
        self._folder = run_folder(self._run, f"flower-{run_id}")
        self._custodians: dict[str, Custodian] = {}

    def custodian(self, position: int) -> Custodian:
        """The custodian of hospital number ``position`` (0, 1, ...) of the federation."""
        name = list(self._run.federation.sites)[position]
        if name not in self._custodians:
            site = simulated_site(self._run.federation, self._run.site, name)
            folder = self._folder / "sites" / name
            seed = self._run.options.seed
            secret = site_secret(folder) if seed is None else seeded_secret(seed, name)
            self._custodians[name] = Custodian(site, folder, secret)
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


def seeded_secret(seed: int, site: str) -> bytes:
    """A secret that anybody can compute: for runs that must repeat, never for patients."""
    return hashlib.sha256(f"simulation seed {seed} of {site}".encode()).digest()
