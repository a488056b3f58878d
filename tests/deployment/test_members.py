"""Who comes and goes in a living federation, over real certificates, nginx and SuperLink."""

import base64
import re
import signal
import ssl
from datetime import UTC, datetime, timedelta
from html import unescape

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

from federation.certificates import certificate_pem, utc_now
from server_app.admission.authority import Authority

pytestmark = pytest.mark.deployment


def nodes_of(hospitals, name):
    """The numbers that a hospital's SuperNode had, one for each time that it was let in."""
    return [
        int(number)
        for number in re.findall(r"SuperNode ID: (\d+)", hospitals.programs.log(f"{name}-supernode"))
    ]


def pull(hospitals, name, signed=timedelta(0)):
    """The status of what a hospital's SuperNode sends each second, signed so much later than now."""
    connection = hospitals.connection(name)
    key = load_ssh_private_key((connection / "node.key").read_bytes(), None)
    stamp = (datetime.now(UTC) + signed).isoformat()
    headers = {
        "content-type": PROTOBUF_MEDIA_TYPE,
        "flwr-public-key": base64.b64encode(public_key_to_bytes(key.public_key())).decode(),
        "flwr-timestamp": stamp,
        "flwr-signature": base64.b64encode(sign_message(key, stamp.encode())).decode(),
    }
    context = ssl.create_default_context(cafile=connection / "coordinator.crt")
    context.load_cert_chain(connection / "client.crt", connection / "client.key")
    url = f"https://127.0.0.1:{hospitals.sites_port}/v1/fleet/pull-messages"
    body = PullMessagesRequest(node=Node(node_id=nodes_of(hospitals, name)[-1])).SerializeToString()
    return httpx.post(url, headers=headers, content=body, verify=context).status_code


REPLAY = "to send a SuperNode's old request again"


@pytest.mark.attack(REPLAY, held_by="a signed time, which Flower takes for five minutes")
def test_an_old_request_is_refused(hospitals):
    assert pull(hospitals, "alder", timedelta(minutes=-10)) == 401


@pytest.mark.attack(REPLAY, held_by="a signed time, which Flower takes for five minutes")
def test_so_is_one_that_was_signed_ahead(hospitals):
    assert pull(hospitals, "alder", timedelta(minutes=10)) == 401


@pytest.mark.mutant(REPLAY, how="sends it at once")
def test_the_same_request_of_now_is_answered(hospitals):
    assert pull(hospitals, "alder") == 200


def test_a_further_hospital_joins_and_takes_part_in_the_next_study(hospitals):
    hospitals.grow("elm")
    run = hospitals.approved_run(federation="grown", rounds=1, evaluation="null")
    hospitals.ended(run)
    assert hospitals.rounds(run)[0]["participants"] == [*hospitals.sites, "elm"]


EXPIRED = "to go on with an expired certificate"


@pytest.fixture
def expiring(hospitals):
    """``expiring(days)``: elm, which no other test needs, has a certificate that ends in so many days."""
    if "elm" not in hospitals.members:
        hospitals.grow("elm")
    folder = hospitals.connection("elm")

    def ends(days):
        own = x509.load_pem_x509_certificate((folder / "client.crt").read_bytes())
        authority = Authority.read(hospitals.coordinator / "authority", "sites")
        issued = authority.client("elm", own.public_key(), 10, utc_now() + timedelta(days=days - 10))
        (folder / "client.crt").resolve().write_text(certificate_pem(issued))
        # A connection that stands was looked at when it began.
        hospitals.programs.kill("elm-gateway", signal.SIGTERM)
        hospitals.programs.start_again("elm-gateway")
        hospitals.programs.until_listening(hospitals.gateway_port("elm"))

    return ends


@pytest.mark.mutant(EXPIRED, "has one that ends tomorrow")
def test_until_its_certificate_has_expired_a_hospital_goes_on(hospitals, expiring):
    expiring(days=1)
    assert pull(hospitals, "elm") == 200


@pytest.mark.attack(EXPIRED, held_by="dates")
def test_then_it_is_told_so_and_is_let_in_with_another(hospitals, expiring):
    expiring(days=-1)
    assert pull(hospitals, "elm") == 403
    assert hospitals.programs.exit_code("elm-supernode") == 1
    assert "its certificate has expired or was revoked" in hospitals.programs.log("elm-supernode")[-2000:]
    hospitals.join("elm", "--renew")
    assert pull(hospitals, "elm") == 200


REVOKED = "to go on with a revoked certificate"


@pytest.mark.attack(REVOKED, held_by="revocation lists")
def test_who_is_put_out_is_out_of_the_study_that_runs_and_comes_back_with_new_keys(hospitals):
    run = hospitals.approved_run(rounds=3, evaluation="null", training__steps=7)
    hospitals.until_rounds(run, 1)
    assert pull(hospitals, "dogwood") == 200
    hospitals.at_coordinator("revoke", "dogwood", "--why", "a stolen laptop")
    hospitals.reload()
    assert pull(hospitals, "dogwood") == 403
    try:
        goes_on_without(hospitals, "dogwood", run)
        assert hospitals.programs.exit_code("dogwood-supernode") == 1
    finally:
        leaves(hospitals, "dogwood")
        hospitals.join("dogwood", "--force")
        comes_back(hospitals, "dogwood")
    assert pull(hospitals, "dogwood") == 200


def test_a_study_goes_on_without_a_hospital_that_leaves(hospitals):
    run = hospitals.approved_run(rounds=3, evaluation="null", training__steps=8)
    hospitals.until_rounds(run, 1)
    leaves(hospitals, "cedar")
    try:
        goes_on_without(hospitals, "cedar", run)
    finally:
        comes_back(hospitals, "cedar")


def goes_on_without(hospitals, name, run):
    """The others end the study, and its report says who was not there."""
    summary = hospitals.ended(run, 400)
    assert summary["status"] == "completed", summary["reason"]
    first, *_, last = hospitals.rounds(run)
    assert first["participants"] == [*hospitals.sites]
    assert last["participants"] == [site for site in hospitals.sites if site != name]
    assert [absence["site"] for absence in last["absent"]] == [name]
    report = hospitals.run_folder(run) / "report.html"
    hospitals.programs.until(report.exists, "the report")  # which is written after the summary
    page = unescape(report.read_text())
    assert f'<th scope="row">{name}</th>' in page.partition("Why hospitals were absent")[2]
    assert last["absent"][0]["reason"] in page


def leaves(hospitals, name):
    """Stop what connects a hospital; its custodian may stay."""
    for part in ("supernode", "launcher", "gateway"):
        hospitals.programs.kill(f"{name}-{part}", signal.SIGTERM)


def comes_back(hospitals, name):
    """Start that again, and wait until its SuperNode was let in."""
    let_in = len(nodes_of(hospitals, name))
    for part in ("gateway", "supernode", "launcher"):
        hospitals.start_part(name, part)
    hospitals.programs.until(lambda: len(nodes_of(hospitals, name)) > let_in, f"{name} coming back")
