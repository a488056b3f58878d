import pytest
from fastapi import FastAPI, Response

from client_app.custodian.service import relay_app
from client_app.desk.client import AdminClient
from client_app.desk.questions import Revoke, question
from federation.errors import ConfigError, LedgerError, MessageError, RefusedError, RunError
from federation.messages import RefusalReply


@pytest.fixture
def client_of(serve_app, tmp_path):
    """A client of somebody who answers every question with these bytes."""

    def made(body, status=200):
        app = FastAPI()
        app.add_api_route("/v1/studies", lambda: Response(body, status), methods=["POST"])
        return client_of_app(app)

    def client_of_app(app):
        # ``serve_app`` asks for the queue of a custodian's app.
        app.state.turns = relay_app(lambda request: None).state.turns
        serve_app(tmp_path / "admin.sock", app)
        return AdminClient(tmp_path / "admin.sock")

    return made


def refusal(rule):
    return RefusalReply(site="", kind="failed", rule=rule, reason="because", reference="17").model_dump_json()


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("ConfigError", ConfigError),
        ("LedgerError", LedgerError),
        ("busy", RefusedError),
        ("unexpected-KeyError", RefusedError),
        ("RefusedError", RefusedError),
        ("SecureSumError", RefusedError),
        ("WardroundErrors", RefusedError),
        ("Exception", RefusedError),
    ],
)
def test_what_the_custodian_refused_with_is_raised_here(rule, kind, client_of):
    with pytest.raises(kind, match="because") as raised:
        client_of(refusal(rule), 400).studies()
    assert type(raised.value) is kind


@pytest.mark.parametrize(("body", "status"), [(b"", 200), (b"{}", 200), (b"\xff", 200), (b"<html>", 500)])
def test_what_is_no_custodian_s_answer_is_an_error(body, status, client_of):
    with pytest.raises(MessageError, match="is it the admin socket"):
        client_of(body, status).studies()


def test_the_relays_socket_is_no_admin_socket(serve_relay):
    with pytest.raises(MessageError, match="is it the admin socket"):
        AdminClient(serve_relay(lambda request: None)).studies()


def test_nobody_there_is_said_with_the_remedy(tmp_path):
    with pytest.raises(RunError, match=r"start it, or correct service\.admin"):
        AdminClient(tmp_path / "none.sock").studies()


def test_a_question_that_makes_no_sense_is_not_sent():
    with pytest.raises(ConfigError, match="by: String should have at least 1 character"):
        question(Revoke, study="2976", by="  ")
