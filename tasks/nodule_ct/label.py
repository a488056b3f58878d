"""What the network is to tell."""

from enum import StrEnum

from tasks.nodule_ct.lidc import Nodule


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
