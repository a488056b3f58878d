"""A federation around the library under test: its sites, and a coordinator that plays by the rules."""

import hashlib

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.secure_sum.commitments import commitment_to
from federation.secure_sum.coordinator import Coordinator
from federation.secure_sum.plan import Grid, Plan
from federation.secure_sum.ring import encode
from federation.secure_sum.roster import Roster
from federation.secure_sum.site import SecureSite
from federation.secure_sum.states import New, from_bytes, to_bytes

NAMES = ("alder", "beech", "cedar", "dogwood", "elm", "fir", "gorse", "hazel", "ivy", "juniper")
MODEL, OTHER_MODEL = hashlib.sha256(b"a model").digest(), hashlib.sha256(b"another").digest()
CHIEF = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIZE = 50


def identity(name):
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def public(name):
    return identity(name).public_key().public_bytes_raw().hex()


def names(sites):
    return NAMES[:sites] if sites <= len(NAMES) else tuple(f"site_{number:02}" for number in range(sites))


def roster_of(sites, version=1):
    return Roster.signed(CHIEF, version, {name: public(name) for name in sites})


def plan_for(roster, kind=Plan, **settings):
    sites = len(roster.keys)
    return kind(
        study="5" * 64, roster=roster.hash, sites=sites, grid=Grid.finest(sites, 1.0, 100), **settings
    )


def resigned(name, sent, **changes):
    """What ``name`` sent, changed by itself, with a commitment to that."""
    changed = sent.model_copy(update=changes)
    parts = {"vector": changed.vector, "boxes": changed.boxes, "secrets": changed.secrets}
    commitment = commitment_to(identity(name), name, sent.commitment.context, **parts)
    return changed.model_copy(update={"commitment": commitment})


class Federation:
    """Sites with their states on "disk" (``stored``), and a coordinator.

    Args:
        sites: how many.
        kinds: the class of the sites, ``SecureSite`` or a weakened variant.
        plan_kind: ``Plan`` or a weakened variant.
        settings: of the plan.
    """

    def __init__(self, sites=3, kinds=SecureSite, plan_kind=Plan, **settings):
        self.names = names(sites)
        self.roster = roster_of(self.names)
        self.plan = plan_for(self.roster, plan_kind, **settings)
        self.sites = {name: kinds(self.plan, self.roster, name, identity(name)) for name in self.names}
        self.stored = {name: to_bytes(New()) for name in self.names}
        self.coordinator = Coordinator(self.plan, self.roster)
        self.vectors = {}

    def state(self, name):
        return from_bytes(self.stored[name])

    def keep(self, name, state):
        self.stored[name] = to_bytes(state)
        return state.reply

    def advertise(self):
        for name, site in self.sites.items():
            request = self.coordinator.advert_request()
            self.coordinator.take(self.keep(name, site.advertise(self.state(name), request)))
        return self

    def masked(self, name, request, model=MODEL, vector=None):
        """The site's masked vector; ``vector`` [m] is one of its own where none is given."""
        state = self.sites[name].begin(self.state(name), request, model)
        self.stored[name] = to_bytes(state)
        words = self.words(name, request.round) if vector is None else encode(vector, 1, self.plan.grid)
        return self.keep(name, self.sites[name].mask(state, words))

    def answer(self, name, request):
        return self.keep(name, self.sites[name].answer(self.state(name), request))

    def open(self, name, request):
        return self.keep(name, self.sites[name].open(self.state(name), request))

    def words(self, name, round_number=1):
        """What the site learnt in a round, on the grid."""
        seed = int.from_bytes(hashlib.sha256(f"{name} {round_number}".encode()).digest()[:8], "little")
        source = np.random.default_rng(seed)
        vector = source.uniform(-1, 1, SIZE).astype(np.float32)
        words = encode(vector, int(source.integers(1, 100)), self.plan.grid)
        self.vectors[name, round_number] = words.copy()
        return words

    def exact(self, sites, round_number=1):
        """Integer addition of what ``sites`` learnt, modulo 2^32."""
        total = sum(self.vectors[site, round_number].astype(object) for site in sites)
        return np.array([int(number) % 2**32 for number in total], dtype=np.uint32)

    def collected(self, round_number=1, silent=(), without=frozenset(), model=MODEL):
        """A round in which everybody but ``silent`` has sent its vector."""
        summing = self.coordinator.begin(round_number, model, without)
        for name in summing.cohort:
            if name not in silent:
                summing.add(name, self.masked(name, summing.request, model))
        return summing

    def total(self, summing, silent_then=(), silent_last=()):
        """The sum, where ``silent_then`` do not answer in exchange B and ``silent_last`` not in C."""
        for name, request in summing.settle().items():
            if name not in silent_then:
                (summing.open if summing.whole else summing.agree)(name, self.answer(name, request))
        if not summing.whole:
            request = summing.open_request()
            for name in summing.survivors:
                if name not in (*silent_then, *silent_last):
                    summing.open(name, self.open(name, request))
        return summing.total()
