"""Who comes and goes in a living federation, over real certificates, nginx and SuperLink."""

import base64
import ssl
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

pytestmark = pytest.mark.deployment


def pull(hospitals, name, when):
    """The status of a SuperNode's request, signed with its own key at ``when``."""
    connection = hospitals.connection(name)
    key = load_ssh_private_key((connection / "node.key").read_bytes(), None)
    stamp = when.isoformat()
    headers = {
        "content-type": PROTOBUF_MEDIA_TYPE,
        "flwr-public-key": base64.b64encode(public_key_to_bytes(key.public_key())).decode(),
        "flwr-timestamp": stamp,
        "flwr-signature": base64.b64encode(sign_message(key, stamp.encode())).decode(),
    }
    context = ssl.create_default_context(cafile=connection / "coordinator.crt")
    context.load_cert_chain(connection / "client.crt", connection / "client.key")
    url = f"https://127.0.0.1:{hospitals.sites_port}/v1/fleet/pull-messages"
    body = PullMessagesRequest().SerializeToString()
    return httpx.post(url, headers=headers, content=body, verify=context).status_code


REPLAY = "an old request of a SuperNode, sent again"


@pytest.mark.attack(REPLAY, held_by="Flower takes no signature of more than five minutes ago")
def test_an_old_request_is_refused(hospitals):
    assert pull(hospitals, "alder", datetime.now(UTC) - timedelta(minutes=10)) == 401


@pytest.mark.mutant(REPLAY, how="a signature of now")
def test_the_same_request_of_now_is_taken(hospitals):
    assert pull(hospitals, "alder", datetime.now(UTC)) not in {401, 403, 415}


def test_who_was_revoked_is_out_and_the_others_go_on_until_it_is_back_with_new_keys(hospitals):
    study = {"rounds": 1, "evaluation": "null", "training__steps": 7}
    hospitals.at_coordinator("revoke", "dogwood", "--why", "a stolen laptop")
    hospitals.reload()
    assert pull(hospitals, "dogwood", datetime.now(UTC)) == 403
    run = hospitals.approved_run(**study)
    hospitals.ended(run)
    assert hospitals.rounds(run)[0]["participants"] == ["alder", "birch", "cedar"]
    hospitals.stop_site("dogwood")
    hospitals.join("dogwood", "--force")
    hospitals.start_site("dogwood")
    hospitals.programs.until_said("dogwood-supernode", "SuperNode ID")
    run = hospitals.approved_run(**study | {"training__steps": 8})
    hospitals.ended(run)
    assert hospitals.rounds(run)[0]["participants"] == list(hospitals.sites)


def test_a_further_hospital_joins_and_takes_part_in_the_next_study(hospitals):
    hospitals.grow("elm")
    run = hospitals.approved_run(federation="grown", rounds=1, evaluation="null")
    hospitals.ended(run)
    assert hospitals.rounds(run)[0]["participants"] == [*hospitals.sites, "elm"]
