import shutil
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client_app.custodian.audit_log import AuditLog
from federation.audit_log import AuditEntry, hash_of, sign_head
from federation.errors import AuditError, ConfigError
from server_app.audit_heads import HEADS_FILE, HeadBook
from server_app.audit_logs import verify_run
from server_app.coordinator import main

KEYS = {
    site: Ed25519PrivateKey.from_private_bytes(bytes([number] * 32))
    for number, site in enumerate(("alder", "birch"), 1)
}


def edited(path, sequence):
    """The log at ``path`` with one entry changed and every hash after it mended."""
    lines, previous = [], None
    for line in path.read_bytes().splitlines():
        entry = AuditEntry.model_validate_json(line)
        changes = {"previous": previous or entry.previous}
        if entry.sequence == sequence:
            changes["event"] = "ended"
        lines.append(entry.model_copy(update=changes).line().encode())
        previous = hash_of(lines[-1])
    path.write_bytes(b"".join(line + b"\n" for line in lines))


@pytest.fixture
def run(tmp_path):
    """The folder of a run: four entries each; the book has the head of entry 2, the peer that of 3."""
    book = HeadBook(tmp_path / HEADS_FILE)
    logs = {site: AuditLog(tmp_path / "sites" / site / "audit", site, KEYS[site]) for site in KEYS}
    for number in range(1, 4):
        for log in logs.values():
            log.append("asked", "coordinator")
        if number == 2:
            for site, log in logs.items():
                book.note(site, [log.head])
    heads = {site: log.head for site, log in logs.items()}
    logs["alder"].append("heads", "coordinator", facts={"birch": heads["birch"].model_dump_json()})
    logs["birch"].append("heads", "coordinator", facts={"alder": heads["alder"].model_dump_json()})
    return tmp_path


@pytest.fixture
def problems(run):
    """What is wrong with each log; empty where nothing is."""
    return lambda *exported: {verdict.site: verdict.problem for verdict in verify_run(run, exported)}


@pytest.fixture
def log_of(run):
    return lambda site: run / "sites" / site / "audit" / "000001.jsonl"


def test_logs_that_are_as_they_were_signed_are_whole(run):
    told = [(one.site, one.entries, one.heads, one.problem) for one in verify_run(run)]
    assert told == [("alder", 4, 2, ""), ("birch", 4, 2, "")]


def test_an_entry_that_was_changed_is_named_with_whoever_can_prove_it(problems, log_of):
    edited(log_of("alder"), 2)
    assert problems()["alder"] == (
        "rewritten: entry 2 is not the one that alder signed; it, or one before it, was changed; "
        "the coordinator can prove it"
    )
    assert problems()["birch"] == ""


def test_a_peer_proves_what_the_coordinator_never_saw(problems, log_of, run):
    edited(log_of("alder"), 3)
    assert problems()["alder"].startswith("rewritten: entry 3 ")
    assert problems()["alder"].endswith("; birch can prove it")
    alone = verify_run(run, [f"alder={log_of('alder').parent}"])
    assert [(one.heads, one.problem) for one in alone] == [(1, "")], "without birch's log there is no proof"


def test_mutant_without_peers_believes_it(problems, log_of, monkeypatch):
    edited(log_of("alder"), 3)
    monkeypatch.setattr("server_app.audit_logs._recorded_heads", lambda entries: iter(()))
    assert problems()["alder"] == ""


def test_a_log_that_was_cut_back_is_told(problems, log_of):
    path = log_of("birch")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))
    assert problems()["birch"].startswith("cut back: birch signed entry 2, and the log ends at entry 1")
    path.write_bytes(b"")
    assert problems()["birch"].startswith("cut back: birch signed entry 2, and the log ends at entry 0")


def test_a_log_that_is_gone_altogether_is_told(problems, run):
    shutil.rmtree(run / "sites" / "birch")
    assert "is no folder of an audit log" in problems()["birch"]


def test_a_broken_chain_is_told_and_the_others_are_still_verified(problems, log_of):
    path = log_of("birch")
    path.write_bytes(path.read_bytes().replace(b'"asked"', b'"ended"', 1))
    assert problems()["birch"].startswith("line 2 follows")
    assert problems()["alder"] == ""


def test_both_heads_of_a_fork_cannot_be_held(problems, run, log_of):
    AuditLog(run / "fork", "alder", KEYS["alder"]).append("asked", "somebody")
    fork = AuditLog(run / "fork", "alder", KEYS["alder"]).head
    with (run / HEADS_FILE).open("a") as file:
        file.write(f"{fork.model_dump_json()}\n")
    assert problems()["alder"].startswith("rewritten: entry 1 ")


def test_a_hospital_cannot_slander_another(problems, run):
    log = AuditLog(run / "sites" / "birch" / "audit", "birch", KEYS["birch"])
    slander = sign_head(KEYS["birch"], "alder", 2, "0" * 64)
    forged = slander.model_copy(update={"key": KEYS["alder"].public_key().public_bytes_raw().hex()})
    for said in (slander.model_dump_json(), forged.model_dump_json(), "no head", "[" * 10_000):
        log.append("heads", "birch", facts={"alder": said})
    assert problems() == {"alder": "", "birch": ""}


def test_exported_logs_are_named_with_their_folders(problems, run, tmp_path):
    shutil.copytree(run / "sites" / "alder" / "audit", tmp_path / "export=1")
    assert problems(f"alder={tmp_path / 'export=1'}") == {"alder": ""}
    with pytest.raises(ConfigError, match="--log alder is not SITE=FOLDER"):
        problems("alder")


def test_without_a_book_nothing_is_proved(run):
    (run / HEADS_FILE).rename(run / "elsewhere.jsonl")
    with pytest.raises(AuditError, match=r"audit-heads\.jsonl is not there"):
        verify_run(run)
    assert not any(verdict.problem for verdict in verify_run(run, book=run / "elsewhere.jsonl"))


@pytest.mark.parametrize("tampered", [False, True])
def test_the_command_prints_a_table_and_its_exit_code_says_whether_all_is_well(
    tampered, run, log_of, monkeypatch, capsys
):
    if tampered:
        edited(log_of("alder"), 3)
    monkeypatch.setattr(sys, "argv", ["wardround-coordinator", "audit", "verify", str(run)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().out
    assert (ended.value.code or 0) == tampered
    assert [word in told for word in ("site", "entries", "heads checked", "result")] == [True] * 4
    assert ("birch can prove it" in told) == tampered
