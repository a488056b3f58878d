"""Who is admitted, stays a member, and stops being one; and that gateway and book never disagree."""

import subprocess
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from federation.admission import node_pem, ssh_public
from federation.certificates import new_key
from federation.errors import DataError, RefusedError
from server_app.admission import members
from server_app.admission.authority import Authority
from server_app.admission.book import Book, read_book
from server_app.admission.folder import Folder
from server_app.admission.members import admit, considered, revoke

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def accepted(folder, kit, now):
    """Whether ``openssl verify`` takes the kit's certificate, by what nginx reads."""
    role = "sites" if kit.kind == "site" else "researchers"
    file = folder.path / "one.crt"
    file.write_text(kit.certificate)
    lists = [
        "-CAfile",
        folder.gateway / f"{role}.crt",
        "-CRLfile",
        folder.gateway / f"{role}.crl",
        "-crl_check",
    ]
    at = ["-attime", str(int(now.timestamp()))]
    told = subprocess.run(
        ["openssl", "verify", *lists, *at, "-purpose", "sslclient", file], capture_output=True, check=False
    )
    return told.returncode == 0


def listed(folder):
    """The serials on the two lists that nginx reads."""
    lists = [
        x509.load_pem_x509_crl((folder.gateway / f"{role}.crl").read_bytes())
        for role in ("sites", "researchers")
    ]
    return {entry.serial_number for one in lists for entry in one}


def header(node):
    """What a SuperNode with that key sends as ``flwr-public-key``."""
    request = httpx.Request("POST", "https://localhost")
    context = SimpleNamespace(request=request)
    NodeAuthHttpInterceptor(node, node.public_key()).intercept(context, lambda _: httpx.Response(200))
    return request.headers["flwr-public-key"]


def refused(folder, request, now):
    """The rule by which a request is refused; and that it changed nothing."""
    before = folder.book
    with pytest.raises(RefusedError) as error:
        admit(folder, request, now)
    assert folder.book == before
    return error.value.rule


class TestAdmit:
    def test_a_kit_has_what_the_member_needs(self, folder, alder, now):
        kit = admit(folder, alder, now)
        assert (kit.name, kit.kind, kit.federation) == ("alder", "site", "lungs")
        assert (kit.address, kit.sites_port, kit.control_port) == ("wardround.example", 8443, 8444)
        assert kit.authority == (folder.authority / "coordinator.crt").read_text()
        assert kit.issued.not_valid_after_utc == now + timedelta(days=365)

    def test_the_gateway_takes_its_certificate_until_it_expires(self, folder, alder, now):
        kit = admit(folder, alder, now)
        assert accepted(folder, kit, now)
        assert accepted(folder, kit, now + timedelta(days=364))
        assert not accepted(folder, kit, now + timedelta(days=366))

    def test_a_researchers_certificate_is_none_of_a_site(self, folder, make_request, now):
        kit = admit(folder, make_request("dr_frei"), now)
        assert accepted(folder, kit, now)
        assert not accepted(folder, kit.model_copy(update={"kind": "site"}), now)

    @pytest.mark.parametrize(
        "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name
    )
    def test_the_map_has_exactly_what_flower_sends(self, curve, folder, make_request, now):
        node = ec.generate_private_key(curve)
        admit(folder, make_request("alder", node), now)
        assert (folder.gateway / "nodes.map").read_text() == f'"alder:{header(node)}" 1;\n'

    def test_a_researcher_is_not_in_the_map(self, folder, make_request, now):
        admit(folder, make_request("dr_frei"), now)
        assert (folder.gateway / "nodes.map").read_text() == ""

    def test_the_same_request_gets_the_same_kit(self, folder, alder, now):
        first = admit(folder, alder, now)
        assert admit(folder, alder, now + timedelta(days=200)) == first
        assert len(folder.book.members) == 1

    def test_the_book_survives(self, folder, alder, now):
        admit(folder, alder, now)
        (member,) = Folder(folder.path).book.members
        assert (member.name, member.kind, member.revoked) == ("alder", "site", None)
        assert member.node_key == node_pem(alder.node)

    @pytest.mark.parametrize("content", ["", "{}{", '{"version": 1, "members": [{"name": "alder"}]}'])
    def test_a_damaged_book_is_not_taken_for_an_empty_one(self, content, folder, alder, now):
        (folder.authority / "admitted.json").write_text(content)
        with pytest.raises(DataError, match=r"admitted.json is no book .* restore it from the backup"):
            admit(folder, alder, now)


class TestNames:
    @pytest.mark.attack("somebody else asks for a member's name", held_by="the book")
    @pytest.mark.parametrize("keys", ["all", "node", "identity"])
    def test_a_name_that_is_taken_is_refused(self, keys, folder, make_request, now):
        node, client = new_key(), new_key()
        admit(folder, make_request("alder", node, client), now)
        others = {
            "all": make_request("alder", new_key(), identity="b2" * 32),
            "node": make_request("alder", new_key(), client),
            "identity": make_request("alder", node, client, identity="b2" * 32),
        }
        assert refused(folder, others[keys], now) == "name-taken"

    @pytest.mark.attack("somebody else asks for a member's name", held_by="the book")
    def test_a_researchers_name_is_the_researchers(self, folder, make_request, alder, now):
        admit(folder, make_request("dr_frei"), now)
        admit(folder, alder, now)
        assert refused(folder, make_request("dr_frei"), now) == "name-taken"
        assert refused(folder, make_request("dr_frei", new_key()), now) == "name-taken"
        assert refused(folder, make_request("alder"), now) == "name-taken"

    @pytest.mark.mutant("somebody else asks for a member's name", how="keys are not compared")
    def test_without_a_look_at_the_keys_it_is_taken(self, folder, alder, make_request, now, monkeypatch):
        admit(folder, alder, now)
        monkeypatch.setattr(members, "_require_same", lambda book, member, request: None)
        kit = admit(folder, make_request("alder", new_key()), now)
        assert accepted(folder, kit, now)

    @pytest.mark.attack("a member brings keys of another member", held_by="the book")
    def test_a_key_of_another_member_is_refused(self, folder, make_request, now):
        node, client = new_key(), new_key()
        admit(folder, make_request("alder", node, client), now)
        beech = {"node": new_key(), "client": new_key(), "identity": "b2" * 32}
        for change, rule in (
            ({"node": node}, "node-key-taken"),
            ({"client": client}, "client-key-used"),
            ({"identity": "a1" * 32}, "identity-taken"),
        ):
            assert refused(folder, make_request("beech", **beech | change), now) == rule

    @pytest.mark.mutant(
        "a member brings keys of another member", how="keys are compared under one name alone"
    )
    def test_compared_under_one_name_alone_it_is_taken(self, folder, make_request, now, monkeypatch):
        client = new_key()
        admit(folder, make_request("alder", new_key(), client), now)
        monkeypatch.setattr(members, "_require_unknown_keys", lambda book, request: None)
        admit(folder, make_request("beech", new_key(), client), now)


class TestRenewal:
    def test_a_new_client_key_of_the_same_node_gets_a_certificate(self, folder, make_request, now):
        node = new_key()
        first = admit(folder, make_request("alder", node), now)
        request = make_request("alder", node)
        assert considered(folder.book, request, now).step == "renewal"
        second = admit(folder, request, now + timedelta(days=1))
        assert second.certificate != first.certificate
        assert len(folder.book.members) == 1

    def test_the_certificate_before_stays_valid_until_the_new_one_is_installed(
        self, folder, make_request, now
    ):
        node = new_key()
        kits = [admit(folder, make_request("alder", node), now) for _ in range(2)]
        assert all(accepted(folder, kit, now) for kit in kits)

    def test_the_same_key_gets_a_new_certificate_near_the_end(self, folder, make_request, now):
        request = make_request("dr_frei")
        first = admit(folder, request, now)
        later = admit(folder, request, now + timedelta(days=310))
        assert later.issued.not_valid_after_utc == now + timedelta(days=310 + 365)
        assert later.issued.serial_number != first.issued.serial_number

    def test_who_is_expired_still_is_the_member(self, folder, alder, make_request, now):
        admit(folder, alder, now)
        late = now + timedelta(days=500)
        assert refused(folder, make_request("alder", new_key()), late) == "name-taken"
        assert accepted(folder, admit(folder, alder, late), late)


class TestRevoke:
    @pytest.mark.attack("a member that was put out connects", held_by="revocation list and map")
    def test_all_certificates_are_on_the_list_and_the_node_is_off_the_map(self, folder, make_request, now):
        node = new_key()
        kits = [admit(folder, make_request("alder", node), now) for _ in range(2)]
        revoke(folder, "alder", "moved away", now + timedelta(days=1))
        assert not any(accepted(folder, kit, now + timedelta(days=2)) for kit in kits)
        assert (folder.gateway / "nodes.map").read_text() == ""

    @pytest.mark.mutant("a member that was put out connects", how="the list is not written anew")
    def test_with_the_list_before_it_would_be_taken(self, folder, alder, now, monkeypatch):
        kit = admit(folder, alder, now)
        monkeypatch.setattr(
            Authority, "revocation_list", lambda *_: (folder.gateway / "sites.crl").read_bytes()
        )
        revoke(folder, "alder", "moved away", now)
        assert accepted(folder, kit, now)

    def test_the_others_notice_nothing(self, folder, alder, make_request, now):
        beech = make_request("beech", new_key(), identity="b2" * 32)
        kits = [admit(folder, request, now) for request in (beech, make_request("dr_frei"))]
        admit(folder, alder, now)
        before = (folder.authority / "sites.crt").read_bytes()
        revoke(folder, "alder", "moved away", now)
        assert all(accepted(folder, kit, now) for kit in kits)
        assert (folder.authority / "sites.crt").read_bytes() == before
        assert "beech" in (folder.gateway / "nodes.map").read_text()

    def test_a_researcher_can_be_put_out(self, folder, make_request, now):
        kit = admit(folder, make_request("dr_frei"), now)
        revoke(folder, "dr_frei", "left", now)
        assert not accepted(folder, kit, now)

    def test_the_list_stays_valid_as_long_as_the_authority(self, folder, alder, make_request, now):
        kit = admit(folder, make_request("beech", new_key(), identity="b2" * 32), now)
        assert accepted(folder, kit, now + timedelta(days=360))
        revocations = x509.load_pem_x509_crl((folder.gateway / "sites.crl").read_bytes())
        assert revocations.next_update_utc == now + timedelta(days=3650)

    @pytest.mark.attack("a revoked key comes back", held_by="the book")
    def test_a_revoked_node_key_never_comes_back_and_the_error_says_what_helps(
        self, folder, make_request, now
    ):
        node = new_key()
        admit(folder, make_request("alder", node), now)
        revoke(folder, "alder", "stolen", now)
        with pytest.raises(RefusedError, match="wardround-site init --force"):
            admit(folder, make_request("alder", node), now)
        assert refused(folder, make_request("beech", node, identity="b2" * 32), now) == "node-key-revoked"

    @pytest.mark.attack("a revoked key comes back", held_by="the book")
    def test_nor_does_a_revoked_client_key(self, folder, make_request, now):
        client = new_key()
        admit(folder, make_request("dr_frei", client=client), now)
        revoke(folder, "dr_frei", "stolen", now)
        assert refused(folder, make_request("dr_frei", client=client), now) == "client-key-used"

    @pytest.mark.mutant("a revoked key comes back", how="only members' keys are compared")
    def test_compared_with_members_alone_it_would(self, folder, make_request, now, monkeypatch):
        client = new_key()
        admit(folder, make_request("dr_frei", client=client), now)
        revoke(folder, "dr_frei", "stolen", now)
        whole = members._require_unknown_client_key
        monkeypatch.setattr(
            members,
            "_require_unknown_client_key",
            lambda book, request: whole(Book(members=book.admitted), request),
        )
        assert accepted(folder, admit(folder, make_request("dr_frei", client=client), now), now)

    def test_with_new_keys_the_same_custodian_is_admitted_again(self, folder, alder, make_request, now):
        admit(folder, alder, now)
        revoke(folder, "alder", "stolen", now)
        kit = admit(folder, make_request("alder", new_key()), now)
        assert accepted(folder, kit, now)
        assert [member.revoked is None for member in folder.book.members] == [False, True]

    def test_said_twice_the_first_reason_stays(self, folder, alder, now):
        admit(folder, alder, now)
        for why in ("stolen", "again"):
            revoke(folder, "alder", why, now)
        (member,) = folder.book.members
        assert member.revoked.why == "stolen"

    def test_somebody_unknown_is_named_with_the_nearest(self, folder, alder, now):
        admit(folder, alder, now)
        with pytest.raises(RefusedError, match=r"'older' was never admitted; did you mean 'alder'"):
            revoke(folder, "older", "stolen", now)


class TestKilled:
    """What is in the book is whole, and after the next command gateway and book agree."""

    @pytest.mark.parametrize("change", ["admit", "revoke"])
    def test_killed_anywhere_and_run_again_gateway_and_book_agree(
        self, change, folder, make_request, killed_at
    ):
        step, died, now = 0, True, NOW
        while died:
            step += 1
            request = make_request(f"site_{step}", new_key(), identity=f"{step:064x}")

            def do(request=request):
                if change == "admit":
                    admit(folder, request, now)
                else:
                    revoke(folder, request.name, "moved away", now)

            if change == "revoke":
                admit(folder, request, now)
            with killed_at(step) as died:
                do()
            read_book(folder.authority / "admitted.json")
            do()
            book = folder.book
            assert (book.admitted_as(request.name) is None) == (change == "revoke")
            assert len([member for member in book.members if member.name == request.name]) == 1
            assert (folder.gateway / "nodes.map").read_text() == book.nodes_map
            assert listed(folder) == {
                int(issued.serial, 16)
                for member in book.members
                if member.revoked is not None
                for issued in member.certificates
            }
        assert step > 15

    def test_a_map_names_each_admitted_site_once(self, folder, make_request, now):
        nodes = {f"site_{number}": new_key() for number in range(3)}
        for number, (name, node) in enumerate(nodes.items()):
            admit(folder, make_request(name, node, identity=f"{number:064x}"), now)
        assert (folder.gateway / "nodes.map").read_text().splitlines() == [
            f'"{name}:{b64encode(node_pem(node.public_key()).encode()).decode()}" 1;'
            for name, node in nodes.items()
        ]
        assert ssh_public(nodes["site_0"].public_key()).startswith("ecdsa-sha2-nistp384 ")
