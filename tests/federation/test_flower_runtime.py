"""What is assumed of the installed Flower's insides; ``tests/deployment/test_launcher.py`` runs all of it."""

import inspect
from pathlib import Path

import pytest
from flwr.superlink.runtime.run_serverapp import run_serverapp
from flwr.supernode.runtime.run_clientapp import run_clientapp

from federation.errors import ConfigError, RunError
from federation.flower_programs import as_arguments, put
from federation.flower_runtime import Tasks


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (run_clientapp, "install_from_fab(fab.content, skip_prompt=True)"),
        (run_clientapp, "load_client_app_fn = get_load_client_app_fn("),
        (run_clientapp, "load_client_app_fn(\n            run.fab_id, run.fab_version, fab.hash_str"),
        (run_serverapp, "context = run_(\n            grid=grid,\n            server_app_dir=app_path,"),
    ],
)
def test_flower_looks_up_what_is_replaced_and_calls_it_so(function, call):
    assert call in inspect.getsource(function)
    assert call.split("(")[0].split("= ")[-1].split(".")[0] in {
        *function.__globals__,
        "load_client_app_fn",
    }


@pytest.mark.parametrize("function", [run_clientapp, run_serverapp])
def test_a_task_is_run_with_these_arguments(function):
    ours = {"runtime_api_address", "token", "insecure", "certificates", "runtime_dependency_install"}
    assert ours <= set(inspect.signature(function).parameters)


def test_a_name_that_flower_has_no_more_is_said():
    with pytest.raises(RunError, match=r"of this flwr has no gone; install the version that is pinned"):
        put(run_clientapp, gone=None)


def test_a_secret_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"launcher.secret cannot be read \(No such file"):
        Tasks("127.0.0.1:1", tmp_path / "launcher.secret", server=False)


def test_nobody_who_answers_is_an_error_that_can_be_waited_out(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    with pytest.raises(RunError, match=r"127\.0\.0\.1:1 gives no tasks"):
        Tasks("127.0.0.1:1", tmp_path / "secret", server=False).next()


def test_options_as_a_command_line_has_them():
    assert as_arguments({"log_file": Path("x"), "port": 1}) == ["--log-file", "x", "--port", "1"]
