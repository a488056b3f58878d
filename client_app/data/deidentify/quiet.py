"""pydicom says in warnings, logs and exceptions what a value is that it does not like; here it does not."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom import config

from client_app.data.refusal import Refused, is_of_the_machine
from federation.errors import RunError


@contextmanager
def quiet(rule: str, what: str) -> Iterator[None]:
    """Whatever of a file fails in it is ``Refused`` by ``rule``, and nothing that is said repeats a value.

    It changes pydicom's settings while it lasts, and Python's warnings: for one thread at a time.

    Args:
        rule: the rule of the refusal.
        what: which part of a file it is about, e.g. ``"the pixels"``.
    """
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)  # of those below it, too
    reading, writing = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    failed, passing = "", False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (Refused, RunError):  # such as that nothing can be decoded here
        raise
    except (Exception, RecursionError) as error:
        failed, passing = type(error).__name__, is_of_the_machine(error)
    finally:
        log.setLevel(level)
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = reading, writing
    if failed:
        said = f"{what} cannot be read or written ({failed}); see to the file at its source"
        # Without the first error, whose words a traceback would repeat.
        raise Refused(rule, said, passing=passing) from None
