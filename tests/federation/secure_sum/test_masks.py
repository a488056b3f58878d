import hashlib
import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

from federation.secure_sum.masks import SEED_BYTES, Mask, add_masks
from federation.secure_sum.transcript import digest

SEED = bytes(range(SEED_BYTES))


def mask(length, seed=SEED, label="self"):
    vector = np.zeros(length, dtype=np.uint32)
    add_masks(vector, [Mask(seed, label, 1)])
    return vector


def blocks(label, count):
    """The definition: AES of 0, 1, 2 ... as big-endian blocks."""
    aes = Cipher(AES256(digest("mask", label, SEED)), ECB()).encryptor()  # noqa: S305
    return b"".join(aes.update(struct.pack(">QQ", 0, number)) for number in range(count))


@pytest.mark.parametrize("label", ["self", "pair"])
def test_a_mask_is_aes_in_counter_mode(label):
    assert mask(400, label=label).astype("<u4").tobytes() == blocks(label, 100)


@pytest.mark.parametrize("length", [0, 1, 5, 2**17 - 1, 2**17, 2**17 + 1, 3 * 2**17 + 7])
def test_of_any_length_it_is_the_beginning_of_one_stream(length):
    assert (mask(length) == mask(400_000)[:length]).all()


def test_adding_and_taking_away_cancel_and_go_around():
    vector = np.arange(300_000, dtype=np.uint32) * np.uint32(14_317)
    masked = vector.copy()
    add_masks(masked, [Mask(SEED, "pair", 1)])
    assert (masked == vector + mask(300_000, label="pair")).all()
    add_masks(masked, [Mask(SEED, "pair", -1)])
    assert (masked == vector).all()


def test_several_at_once_are_one_after_the_other():
    several = [Mask(bytes([seed]) * SEED_BYTES, "pair", sign) for seed, sign in ((1, 1), (2, -1), (3, 1))]
    at_once = np.arange(300_000, dtype=np.uint32)
    one_by_one = at_once.copy()
    add_masks(at_once, several)
    for each in several:
        add_masks(one_by_one, [each])
    assert (at_once == one_by_one).all()


def test_seeds_and_kinds_of_mask_have_streams_of_their_own():
    seen = {mask(8).tobytes(), mask(8, label="pair").tobytes(), mask(8, seed=bytes(SEED_BYTES)).tobytes()}
    assert len(seen) == 3


def test_a_mask_stays_what_it_is_between_versions():
    assert hashlib.sha256(mask(1000).astype("<u4").tobytes()).hexdigest()[:16] == "a7f5438cb3fe5a6e"
