"""Flower's SuperLink as a coordinator has it."""

import sys

from flwr.supercore.corestate.sql_corestate import SqlCoreState
from flwr.supercore.http_logging import get_uvicorn_log_config
from flwr.superlink.cli.flower_superlink import flower_superlink

from federation.flower_programs import as_arguments, put
from federation.flower_runtime import HEARTBEAT
from federation.logs import logs_json, uvicorn_in_json


def run_superlink(*flags: str, **options: object) -> None:
    """Be Flower's SuperLink, e.g. ``run_superlink("--enable-supernode-auth", database="superlink.db")``."""
    sys.argv = ["flower-superlink", *flags, *as_arguments(options)]
    put(SqlCoreState.claim_task, HEARTBEAT_DEFAULT_INTERVAL=HEARTBEAT)
    if logs_json():
        put(
            flower_superlink,
            get_uvicorn_log_config=lambda level: uvicorn_in_json(get_uvicorn_log_config(level)),
        )
    flower_superlink()
