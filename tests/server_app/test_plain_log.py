import logging

import numpy as np
import pytest

from server_app.plain_log import PlainLog
from server_app.record import Absence, RoundLine


@pytest.fixture
def told(caplog):
    """What the log says of a round."""
    caplog.set_level(logging.INFO, logger="flwr")
    log = logging.getLogger("flwr")
    log.addHandler(caplog.handler)

    def tell(**changes):
        line = RoundLine(
            round=7,
            seconds=1.5,
            participants=("alder", "birch"),
            absent=(),
            epsilon={},
            model_sha256="0" * 64,
        )
        PlainLog().round_finished(line.model_copy(update=changes), np.zeros(1, dtype=np.float32))
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    yield tell
    log.removeHandler(caplog.handler)


def test_a_lost_round_is_a_warning_with_its_reason(told):
    assert ("WARNING", "round 7 came to nothing: nobody came (1.5 s)") in told(
        lost="nobody came", participants=()
    )


def test_any_other_says_who_took_part(told):
    assert ("INFO", "round 7: alder, birch (1.5 s)") in told()


def test_programs_are_told_of_the_round_too_and_a_reason_stays_on_its_line(told):
    absent = (Absence(site="cedar", reason="no\nround 8: cedar"),)
    records = told(absent=absent)
    assert ("WARNING", "round 7 without cedar: no\N{REPLACEMENT CHARACTER}round 8: cedar") in records
    (line,) = {text.removeprefix("progress ") for _, text in records if text.startswith("progress ")}
    assert RoundLine.model_validate_json(line).absent == absent
