"""What the network is to tell, and which patients it may learn from."""

from enum import StrEnum
from hashlib import sha256

from tasks.nodule_ct.lidc import Nodule

TRAIN_PERCENT = 75


class Label(StrEnum):
    """A question about a nodule, answered by the median of its readers' malignancy ratings."""

    MALIGNANCY = "malignancy"
    """4 or more against 2 or less; the undecided between are left out."""
    SUSPICIOUS = "suspicious"
    """3 or more against less; every nodule is in, and it is harder."""

    @property
    def classes(self) -> tuple[str, str]:
        """What targets 0 and 1 mean, for people."""
        return ("benign", "malignant") if self is Label.MALIGNANCY else ("unsuspicious", "suspicious")

    def target(self, nodule: Nodule) -> int | None:
        """The class of a nodule; None when it is left out."""
        if self is Label.SUSPICIOUS:
            return int(nodule.malignancy >= 3)
        if 2 < nodule.malignancy < 4:
            return None
        return int(nodule.malignancy >= 4)


def in_train(patient: str) -> bool:
    """Which side of the split a patient is on, by nothing but the pseudonym: SHA-256 modulo 100."""
    # The first four bytes decide: enough, and short to compute by hand.
    return int.from_bytes(sha256(patient.encode()).digest()[:4], "big") % 100 < TRAIN_PERCENT
