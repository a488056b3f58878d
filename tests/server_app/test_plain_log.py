import logging

import numpy as np
import pytest

from server_app.plain_log import PlainLog
from server_app.record import RoundLine


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
