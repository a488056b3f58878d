"""What is not taken into the store, and by which rule."""

from federation.errors import DataError


class Refused(DataError):  # noqa: N818 - it says what became of the file
    """A file, study or patient that is not taken; the message names nobody.

    Attributes:
        rule: the short identifier of the rule that decided, e.g. ``"burned-in-text"``.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
