"""What a secure sum costs: processor time of a site and of the coordinator, and bytes sent.

All in one process and one thread, in memory: what serialising, the network and the disk take is not in it. A
site's time is from its float32 vector to the message that leaves; the coordinator's from the first message to
the mean, with all checks and openings. Beside them, in the same run, the plain weighted mean by numpy, and
Flower's own SecAgg+ functions on the same vectors.
"""

import importlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import ConfigRecord
from flwr.app.typing import ConfigRecordValues
from flwr.common import bytes_to_ndarray, ndarrays_to_parameters
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import dequantize
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from numpy.typing import NDArray

from benchmarks.table import Row
from federation.secure_sum.coordinator import Coordinator
from federation.secure_sum.messages import MaskedVector, OpenedShares
from federation.secure_sum.parties import LEAST_SITES, Parties
from federation.secure_sum.plan import Grid, Plan
from federation.secure_sum.ring import decode, encode
from federation.secure_sum.roster import Roster
from federation.secure_sum.round_sum import RoundSum
from federation.secure_sum.site import SecureSite
from federation.secure_sum.states import Advertised, Agreed, Masked, New

SITES = (3, 10, 30)
VALUES = {"100k": 100_000, "1M": 1_000_000, "10M": 10_000_000}
DROPOUTS = (0, 1, 2)
COLLUDING = 1
WEIGHT, CAP = 70, 100
_MODEL = bytes(32)

Vector = NDArray[np.float32]
Members = dict[str, tuple[SecureSite, Advertised]]


class Stopwatch:
    """Processor time under several names."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add a lap under ``name``."""
        begun = time.process_time()
        yield
        self.taken.setdefault(name, []).append(time.process_time() - begun)

    def median(self, name: str) -> float:
        """Of the laps."""
        return median(self.taken[name])

    def total(self, name: str) -> float:
        """Of the laps."""
        return sum(self.taken[name])


def run() -> list[Row]:
    """Every number of sites with every length."""
    return [row for sites in SITES for name in VALUES for row in _case(sites, name)]


def _case(sites: int, name: str) -> list[Row]:
    values, case = VALUES[name], f"{sites} sites, {name}"
    vector = np.random.default_rng(0).normal(0, 0.1, values).astype(np.float32)
    plain, flower = _plain(sites, vector), _flower(sites, vector)
    rows = [
        Row(case, "numpy's mean", 1e3 * plain, "ms"),
        Row(case, "Flower's site", 1e3 * flower.median("site"), "ms"),
        Row(
            case,
            "Flower's coordinator",
            1e3 * flower.total("coordinator"),
            "ms",
            "numpy's mean",
            flower.total("coordinator") / plain,
        ),
    ]
    for dropouts in DROPOUTS[: 1 + _most_dropouts(sites)]:
        repeated = 3 if sites * values <= 10**8 else 1
        rounds = [_wardround(sites, vector, dropouts) for _ in range(repeated)]
        site = median(watch.median("site") for watch, _ in rounds)
        coordinator = median(watch.total("coordinator") for watch, _ in rounds)
        after, sent = f", {dropouts} dropouts" if dropouts else "", rounds[0][1]
        if not dropouts:
            against = site / flower.median("site")
            rows += [
                Row(case, "site", 1e3 * site, "ms", "Flower's site", against),
                Row(case, "sent by a site", sent / 1e6, "MB", "float32", sent / vector.nbytes),
            ]
        rows.append(
            Row(case, f"coordinator{after}", 1e3 * coordinator, "ms", "numpy's mean", coordinator / plain)
        )
    return rows


def _most_dropouts(sites: int) -> int:
    """That a plan allows: with one more, fewer would remain than open a secret."""
    return sites - max(LEAST_SITES, Parties(sites, COLLUDING, dropouts=0).threshold)


def _plain(sites: int, vector: Vector) -> float:
    """Seconds for a weighted mean of as many vectors as they come in."""
    watch = Stopwatch()
    # What has just arrived is not in the cache.
    arrived = [vector.copy() for _ in range(min(sites, 10))]
    for _ in range(7):
        with watch("mean"):
            total = arrived[0] * np.float32(WEIGHT)
            for site in range(1, sites):
                total += arrived[site % len(arrived)] * np.float32(WEIGHT)
            total /= np.float32(WEIGHT * sites)
    return watch.median("mean")


def _wardround(sites: int, vector: Vector, dropouts: int) -> tuple[Stopwatch, int]:
    """Laps of sites and coordinator in one round, and the bytes that a site sends."""
    members, coordinator = _federation(sites, dropouts, float(np.abs(vector).max()))
    summing, watch, sent = coordinator.begin(1, _MODEL), Stopwatch(), 0
    states: dict[str, Masked | Agreed] = {}
    for name, (site, advertised) in list(members.items())[dropouts:]:
        with watch("site"):
            training = site.begin(advertised, summing.request, _MODEL)
            masked = site.mask(training, encode(vector, WEIGHT, site.plan.grid))
        with watch("coordinator"):
            summing.add(name, masked.reply)
        sent = _size(masked.reply)
        # All vectors of all sites at once would not fit into memory.
        without = masked.reply.model_copy(update={"vector": np.empty(0, dtype=np.uint32)})
        states[name] = masked.model_copy(update={"sent": without})
    with watch("coordinator"):
        questions = summing.settle()
    for name, question in questions.items():
        state = members[name][0].answer(states[name], question)
        with watch("coordinator"):
            if isinstance(state.reply, OpenedShares):
                summing.open(name, state.reply)
            else:
                summing.agree(name, state.reply)
        if isinstance(state, Agreed):
            states[name] = state
    _open_after_dropouts(summing, members, states, watch)
    with watch("coordinator"):
        mean, _ = decode(summing.total(), next(iter(members.values()))[0].plan.grid)
    np.testing.assert_allclose(mean, vector, atol=1e-6)
    return watch, sent


def _open_after_dropouts(
    summing: RoundSum, members: Members, states: dict[str, Masked | Agreed], watch: Stopwatch
) -> None:
    if summing.whole:
        return
    with watch("coordinator"):
        request = summing.open_request()
    for name in summing.survivors:
        opened = members[name][0].open(states[name], request).reply
        with watch("coordinator"):
            summing.open(name, opened)


def _federation(sites: int, dropouts: int, clip_bound: float) -> tuple[Members, Coordinator]:
    identities = {f"site_{number:02}": Ed25519PrivateKey.generate() for number in range(sites)}
    public = {name: key.public_key().public_bytes_raw().hex() for name, key in identities.items()}
    roster = Roster.signed(Ed25519PrivateKey.generate(), 1, public)
    grid = Grid.finest(sites, clip_bound, CAP)
    plan = Plan("0" * 64, roster.hash, sites, grid, colluding=COLLUDING, dropouts=dropouts)
    coordinator, members = Coordinator(plan, roster), {}
    for name, identity in identities.items():
        site = SecureSite(plan, roster, name, identity)
        advertised = site.advertise(New(), coordinator.advert_request())
        coordinator.take(advertised.reply)
        members[name] = site, advertised
    return members, coordinator


def _size(sent: MaskedVector) -> int:
    """Bytes of the vector, and of all that goes with it as JSON."""
    return sent.vector.nbytes + len(sent.model_dump_json(exclude={"vector"}))


def _flower(sites: int, vector: Vector) -> Stopwatch:
    """The same with Flower's functions, no dropout: one site's upload, and the sum over all of them."""
    logging.getLogger("flwr").setLevel(logging.WARNING)
    # The package hides this module behind the function of the same name.
    mod = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
    clip, target, modulus, watch = float(np.abs(vector).max()), 1 << 22, 1 << 32, Stopwatch()
    settings: dict[str, ConfigRecordValues] = {
        Key.SAMPLE_NUMBER: sites,
        Key.SHARE_NUMBER: sites,
        Key.THRESHOLD: sites // 2 + 1,
        Key.CLIPPING_RANGE: clip,
        Key.TARGET_RANGE: target,
        Key.MOD_RANGE: modulus,
        Key.MAX_WEIGHT: float(CAP),
    }
    states = []
    public: dict[str, ConfigRecordValues] = {}
    for node in range(sites):
        states.append(mod.SecAggPlusState(nid=node))
        told = mod._setup(states[node], ConfigRecord(settings))
        public[str(node)] = [told[Key.PUBLIC_KEY_1], told[Key.PUBLIC_KEY_2]]
    boxes: dict[int, bytes] = {}
    for node, state in enumerate(states):
        shared = mod._share_keys(state, ConfigRecord(public))
        if node > 0:
            boxes[node] = shared[Key.CIPHERTEXT_LIST][shared[Key.DESTINATION_LIST].index(0)]
    with watch("site"):
        sent = mod._collect_masked_vectors(
            states[0],
            ConfigRecord({Key.CIPHERTEXT_LIST: list(boxes.values()), Key.SOURCE_LIST: list(boxes)}),
            WEIGHT,
            ndarrays_to_parameters([vector]),
        )[Key.MASKED_PARAMETERS]
    with watch("coordinator"):
        total = [bytes_to_ndarray(array) for array in sent]
        for _ in range(sites - 1):
            total = parameters_addition(total, [bytes_to_ndarray(array) for array in sent])
        total = parameters_mod(total, modulus)
        for _ in range(sites):
            mask = pseudo_rand_gen(os.urandom(32), modulus, [array.shape for array in total])
            total = parameters_subtraction(total, mask)
        dequantize(parameters_mod(total, modulus)[1:], clip, target)
    return watch
