import hashlib
import hmac
import math

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy.stats import kstest

from client_app.training.stream import SECRET_BYTES, Stream

SECRET = bytes(range(SECRET_BYTES))
MANY = 200_000


def correlated(a, b):
    """Whether two long series of independent draws would correlate like this once in a million times."""
    return abs(np.corrcoef(a, b)[0, 1]) > 4.9 / math.sqrt(len(a))


def test_the_bits_are_aes_in_counter_mode_under_an_hkdf_key_of_secret_and_address():
    extracted = hmac.digest(bytes(32), SECRET, "sha256")
    info = b"wardround stream 1\x00study\x003\x00noise"
    key = hmac.digest(extracted, info + b"\x01", "sha256")
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the blocks that CTR is made of
    counters = b"".join(number.to_bytes(16, "big") for number in range(8))
    assert Stream(SECRET, "study", 3, "noise").bits(16).tobytes() == block.update(counters)


def test_equal_addresses_give_equal_draws_however_they_are_asked_for():
    whole = Stream(SECRET, "study", 1).bits(10)
    stream = Stream(SECRET, "study", 1)
    assert np.array_equal(whole, np.concatenate([stream.bits(3), stream.bits(0), stream.bits(7)]))


@pytest.mark.parametrize(
    "address",
    [
        ("study", 2, 0, "noise"),
        ("study", 1, 1, "noise"),
        ("other", 1, 0, "noise"),
        ("study", 1, 0, "sampling"),
    ],
    ids=["round", "step", "study", "use"],
)
def test_every_part_of_the_address_makes_independent_draws(address):
    here = Stream(SECRET, "study", 1, 0, "noise").normal(MANY)
    assert not correlated(here, Stream(SECRET, *address).normal(MANY))


def test_parts_of_an_address_do_not_run_into_each_other():
    assert not np.array_equal(Stream(SECRET, 1, 23).bits(4), Stream(SECRET, 12, 3).bits(4))


def test_another_secret_makes_independent_draws():
    other = hashlib.sha256(SECRET).digest()
    assert not correlated(Stream(SECRET, "a").normal(MANY), Stream(other, "a").normal(MANY))


def test_normal_draws_are_normal():
    draws = Stream(SECRET, "normal").normal(MANY)
    assert abs(draws.mean()) < 4.9 / math.sqrt(MANY)
    assert abs(draws.var() - 1) < 4.9 * math.sqrt(2 / MANY)
    assert kstest(draws, "norm").pvalue > 1e-4
    assert not correlated(draws[: MANY // 2], draws[MANY // 2 :]), "the halves share their uniform draws"


def test_an_odd_number_of_normal_draws_is_given_whole():
    assert len(Stream(SECRET, "odd").normal(7)) == 7
    assert len(Stream(SECRET, "none").normal(0)) == 0


def test_uniform_draws_are_uniform_and_never_0_or_1():
    draws = Stream(SECRET, "uniform").uniform(MANY)
    assert 0 < draws.min() < draws.max() < 1
    assert kstest(draws, "uniform").pvalue > 1e-4


def test_the_smallest_uniform_draw_has_a_finite_logarithm(monkeypatch):
    monkeypatch.setattr(Stream, "bits", lambda self, count: np.zeros(count, dtype=np.uint64))
    assert np.isfinite(Stream(SECRET, "lowest").normal(4)).all()


def test_global_generators_neither_matter_nor_move():
    np.random.seed(1)
    torch.manual_seed(1)
    before = (np.random.get_state()[2], torch.get_rng_state())
    first = Stream(SECRET, "a").normal(5)
    assert np.random.get_state()[2] == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    np.random.seed(2)
    torch.manual_seed(2)
    assert np.array_equal(first, Stream(SECRET, "a").normal(5))
