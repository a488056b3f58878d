"""What fails inside says which rule, and nothing of what pydicom says of values is seen."""

import logging
import traceback
import warnings

import pytest
from pydicom import config

from client_app.data.deidentify.quiet import quiet
from client_app.data.refusal import Refused


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
