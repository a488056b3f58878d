"""What fails inside says which rule, and nothing of what pydicom says of values is seen."""

import errno
import logging
import traceback
import warnings

import pytest
from pydicom import config

from client_app.data.deidentify.quiet import quiet
from client_app.data.refusal import Refused
from federation.errors import RunError


def failing(error):
    with quiet("unreadable", "the file"):
        warnings.warn("Zimmerquist is no number", stacklevel=1)
        logging.getLogger("pydicom.pixels.decoders").error("Zimmerquist")
        raise error


@pytest.mark.parametrize(
    "error",
    [ValueError("Zimmerquist"), RecursionError("Zimmerquist"), KeyError("Zimmerquist"), MemoryError()],
)
def test_an_error_that_names_a_patient_is_a_refusal_that_does_not(error, capfd, caplog):
    with pytest.raises(Refused) as refused:
        failing(error)
    assert refused.value.rule == "unreadable"
    assert type(error).__name__ in str(refused.value)
    assert "raise error" not in "".join(traceback.format_exception(refused.value))
    assert "Zimmerquist" not in "".join(traceback.format_exception(refused.value))
    assert "Zimmerquist" not in str(capfd.readouterr()) + caplog.text


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (ValueError(), False),
        (RecursionError(), False),
        (OSError("image file is truncated"), False),
        (OSError(errno.EINVAL, "Invalid argument"), False),
        (OSError(errno.EIO, "Input/output error"), True),
        (MemoryError(), True),
    ],
)
def test_what_memory_or_disk_did_may_pass(error, passing):
    with pytest.raises(Refused) as refused:
        failing(error)
    assert refused.value.passing == passing


def test_that_nothing_can_be_decoded_here_is_no_refusal_of_a_file():
    with pytest.raises(RunError, match="does not start"):
        failing(RunError("the process that decompresses images does not start"))


def test_a_refusal_stays_what_it_is():
    with pytest.raises(Refused) as refused:
        failing(Refused("uid", "a UID is none"))
    assert refused.value.rule == "uid"


def test_whoever_stops_it_is_heard():
    with pytest.raises(KeyboardInterrupt):
        failing(KeyboardInterrupt())


def test_pydicom_is_afterwards_as_it_was():
    def settings():
        modes = config.settings
        return (
            modes.reading_validation_mode,
            modes.writing_validation_mode,
            logging.getLogger("pydicom").level,
        )

    before = settings()
    with pytest.raises(Refused):
        failing(ValueError())
    assert settings() == before
