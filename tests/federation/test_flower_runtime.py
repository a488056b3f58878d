"""What is assumed of the installed Flower's insides; ``tests/deployment/test_launcher.py`` runs all of it."""

import inspect
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from flwr.superlink.runtime.run_serverapp import run_serverapp
from flwr.supernode.fleet_http_connection import http_request_response
from flwr.supernode.runtime.run_clientapp import run_clientapp
from flwr.supernode.start_client_internal import start_client_internal

from federation.errors import ConfigError, RunError
from federation.flower_programs import as_arguments
from federation.flower_runtime import Tasks, _put, _QuickTime, why_not_let_in

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (run_clientapp, "install_from_fab(fab.content, skip_prompt=True)"),
        (run_clientapp, "load_client_app_fn = get_load_client_app_fn("),
        (run_clientapp, "load_client_app_fn(\n            run.fab_id, run.fab_version, fab.hash_str"),
        (run_serverapp, "context = run_(\n            grid=grid,\n            server_app_dir=app_path,"),
        (start_client_internal, "time.sleep(3)"),
        (inspect.unwrap(http_request_response), "NodeAuthHttpInterceptor(private_key, public_key)"),
    ],
)
def test_flower_looks_up_what_is_replaced_and_calls_it_so(function, call):
    assert call in inspect.getsource(function)
    assert call.split("(")[0].split("= ")[-1].split(".")[0] in {
        *function.__globals__,
        "load_client_app_fn",
    }


def test_the_supernode_knows_no_more_of_time_than_to_sleep():
    names = inspect.getsource(inspect.getmodule(start_client_internal)).split("time.")
    said = {text.split("(")[0].split()[0] for text in names[1:]}
    assert "sleep" in said
    assert not {"time", "monotonic", "perf_counter"} & said
    assert hasattr(_QuickTime(), "sleep")


@pytest.mark.parametrize("function", [run_clientapp, run_serverapp])
def test_a_task_is_run_with_these_arguments(function):
    ours = {"runtime_api_address", "token", "insecure", "certificates", "runtime_dependency_install"}
    assert ours <= set(inspect.signature(function).parameters)


def test_a_name_that_flower_has_no_more_is_said():
    with pytest.raises(RunError, match=r"of this flwr has no gone; install the version that is pinned"):
        _put(run_clientapp, gone=None)


def test_a_secret_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"launcher.secret cannot be read \(No such file"):
        Tasks("127.0.0.1:1", tmp_path / "launcher.secret", server=False)


def test_nobody_who_answers_is_an_error_that_can_be_waited_out(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    with pytest.raises(RunError, match=r"127\.0\.0\.1:1 gives no tasks"):
        Tasks("127.0.0.1:1", tmp_path / "secret", server=False).next()


def test_options_as_a_command_line_has_them():
    assert as_arguments({"log_file": Path("x"), "port": 1}) == ["--log-file", "x", "--port", "1"]


def refused(seconds, status=401):
    """What a SuperNode says whose clock is so much behind."""
    date = format_datetime(NOON + timedelta(seconds=seconds), usegmt=True)
    return why_not_let_in(httpx.Response(status, headers={"date": date}), NOON)


@pytest.mark.parametrize(
    ("seconds", "said"), [(306, "clock is 0:05:06 behind"), (-6, "clock is 0:00:06 ahead of")]
)
def test_a_clock_that_flower_does_not_take_is_named(seconds, said):
    assert said in refused(seconds)


@pytest.mark.parametrize("seconds", [304, 0, -4])
def test_with_a_clock_that_it_takes_it_is_the_key(seconds):
    assert "key is not registered" in refused(seconds)


def test_a_superlink_that_says_that_a_run_is_over_lets_a_supernode_in():
    assert why_not_let_in(httpx.Response(403, json={"code": 1, "detail": ""}), NOON) == ""


def test_a_superlink_that_is_away_is_waited_for():
    assert refused(0, 502) == ""
