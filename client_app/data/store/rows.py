"""What a row of the manifest is made of, checked."""

import json
import math
import re
from collections.abc import Mapping

from federation.errors import DataError
from federation.site_store import Fact

PATIENT = re.compile(r"[0-9a-f]{16}")
_SERIES = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_FEATURE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def check(patient: str, series: str, features: Mapping[str, Fact]) -> None:
    """Refuse what is no pseudonym and no feature.

    Raises:
        DataError: saying which, never what: a wrong pseudonym may be a name.
    """
    if not PATIENT.fullmatch(patient):
        raise DataError("the patient of a series is no pseudonym (16 hex digits); see client_app.data.keys")
    if not _SERIES.fullmatch(series):
        raise DataError("the pseudonym of a series must be 1 to 64 letters, digits, dots, dashes")
    for name, value in features.items():
        if not _FEATURE.fullmatch(name):
            raise DataError("a feature's name must be lowercase letters, digits and _, as a study names it")
        if isinstance(value, float) and not math.isfinite(value):
            raise DataError(f"feature {name} is not finite; leave out what is not known")


def as_json(value: object) -> str:
    """The same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
