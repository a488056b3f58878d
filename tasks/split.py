"""Which patients a model may learn from, by nothing but a patient's pseudonym."""

from hashlib import sha256

TRAIN_PERCENT = 75


def in_train(patient: str) -> bool:
    """Whether SHA-256 of the pseudonym, modulo 100, is below 75; the rest are test patients.

    The first four bytes decide: enough, and short to compute by hand.
    """
    return int.from_bytes(sha256(patient.encode()).digest()[:4], "big") % 100 < TRAIN_PERCENT
