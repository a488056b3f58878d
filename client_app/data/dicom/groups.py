"""What a multi-frame file says of each frame (PS3.3 section C.7.6.16)."""

from pydicom import Dataset


def functional_group(dataset: Dataset, frame: int, name: str) -> Dataset | None:
    """The one item of a functional group, of the frame or else shared by all; None where neither has it."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for groups in (own[frame : frame + 1], shared[:1]):
        for group in groups:
            items = group.get(name)
            if items:
                return items[0]  # type: ignore[no-any-return]
    return None
