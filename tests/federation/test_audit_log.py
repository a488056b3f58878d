from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from federation import audit_log
from federation.audit_log import (
    BEFORE_THE_FIRST,
    AuditEntry,
    AuditHead,
    follow_chain,
    hash_of,
    read_chain,
    require_heads,
    sign_head,
)
from federation.errors import AuditError

ALDER, BIRCH = (Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in (1, 2))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def chain_of(length):
    """The lines of a log, with ends."""
    lines, previous = [], BEFORE_THE_FIRST
    for sequence in range(1, length + 1):
        entry = AuditEntry(
            sequence=sequence,
            time=NOON + timedelta(seconds=sequence),
            actor="Dr. Müller",
            event="asked",
            facts={"n": sequence},
            previous=previous,
        )
        lines.append(f"{entry.line()}\n".encode())
        previous = hash_of(lines[-1])
    return lines


LINES = chain_of(6)
HASHES = [link.hash for link in read_chain(LINES)]
HEADS = [sign_head(ALDER, "alder", number, digest) for number, digest in enumerate(HASHES, 1)]


def verify(lines, head=HEADS[-1]):
    """As whoever holds ``head`` does."""
    require_heads([link.hash for link in read_chain(lines)], [head])


def splitting(content):
    return content.splitlines(keepends=True)


class TestEntry:
    def test_its_line_is_canonical(self):
        entry = AuditEntry(
            sequence=1,
            time=datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1))),
            actor="Ä\n",
            event="released",
            facts={"b": 1, "a": 0.5, "c": "1"},
            salt="0123456789abcdef" * 2,
            previous=BEFORE_THE_FIRST,
        )
        assert entry.line() == (
            '{"actor":"Ä\\n","event":"released","facts":{"a":0.5,"b":1,"c":"1"},'
            f'"previous":"{BEFORE_THE_FIRST}","round":null,"rule":"","salt":"0123456789abcdef0123456789abcdef","sequence":1,"study":"",'
            '"time":"2026-03-01T12:00:00Z"}'
        )
        assert AuditEntry.model_validate_json(entry.line()) == entry

    @given(
        actor=st.text(),
        facts=st.dictionaries(
            st.text(), st.one_of(st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
        ),
    )
    def test_whatever_it_tells_is_one_line_that_reads_as_it_was_written(self, actor, facts):
        entry = AuditEntry(
            sequence=1, time=NOON, actor=actor, event="failed", facts=facts, previous=BEFORE_THE_FIRST
        )
        assert b"\n" not in entry.line().encode()
        ((read, digest),) = read_chain([entry.line().encode()])
        assert read == entry
        assert read.line() == entry.line()
        assert digest == hash_of(entry.line().encode())

    @pytest.mark.parametrize(
        "wrong",
        [
            {"sequence": 0},
            {"time": datetime(2026, 3, 1)},
            {"event": "deleted"},
            {"previous": "0"},
            {"patient": "x"},
            {"facts": {"ε": float("nan")}},
        ],
    )
    def test_what_is_none_is_refused(self, wrong):
        good = {"sequence": 1, "time": NOON, "actor": "a", "event": "asked", "previous": BEFORE_THE_FIRST}
        with pytest.raises(ValidationError):
            AuditEntry(**(good | wrong))


class TestChain:
    def test_reads_what_was_written(self):
        links = read_chain(LINES)
        assert [link.entry.sequence for link in links] == [1, 2, 3, 4, 5, 6]
        assert [link.hash for link in links] == HASHES
        assert read_chain([]) == []

    def test_goes_on_where_reading_ended(self):
        assert list(follow_chain(LINES[4:], 4, HASHES[3])) == read_chain(LINES)[4:]

    def test_a_clock_that_was_set_back_is_no_error(self):
        first, *_ = chain_of(1)
        second = AuditEntry(
            sequence=2, time=NOON - timedelta(days=1), actor="a", event="asked", previous=hash_of(first)
        )
        assert len(read_chain([first, second.line().encode()])) == 2

    @pytest.mark.parametrize("rubbish", [b"", b"\n", b"{}", b"[" * 100_000, b"\xff", b"null"])
    def test_a_line_that_is_no_entry_is_named(self, rubbish):
        with pytest.raises(AuditError, match="line 3 is not an entry"):
            read_chain([*LINES[:2], rubbish])

    def test_a_missing_entry_and_another_predecessor_are_named(self):
        with pytest.raises(AuditError, match="line 3 is entry 4"):
            read_chain([*LINES[:2], *LINES[3:]])
        with pytest.raises(AuditError, match="line 4 follows"):
            read_chain([*LINES[:2], LINES[2].replace(b'"asked"', b'"ended"'), *LINES[3:]])


class TestTampering:
    """Against the last head, nothing of a log can be other than it was."""

    @given(st.integers(0, 5))
    def test_deleting_an_entry_is_seen(self, place):
        with pytest.raises(AuditError):
            verify([*LINES[:place], *LINES[place + 1 :]])

    @given(st.permutations(range(6)).filter(lambda order: list(order) != list(range(6))))
    def test_reordering_is_seen(self, order):
        with pytest.raises(AuditError):
            verify([LINES[place] for place in order])

    @given(st.data())
    def test_changing_any_byte_is_seen(self, data):
        content = bytearray(b"".join(LINES[:-1]) + LINES[-1].rstrip(b"\n"))
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
        with pytest.raises(AuditError):
            verify(bytes(content).split(b"\n"))

    @given(st.data())
    def test_cutting_any_bytes_off_the_end_is_seen(self, data):
        content = b"".join(LINES)
        end = data.draw(st.integers(0, len(content) - 2))  # the end of the last line is none of its bytes
        with pytest.raises(AuditError):
            verify(splitting(content[:end]))

    @given(st.integers(1, 6))
    def test_a_chain_that_was_computed_anew_is_seen(self, place):
        """Who may write the log can mend all hashes, but cannot sign for what others hold already."""
        lines, previous = [], BEFORE_THE_FIRST
        for number, line in enumerate(LINES, 1):
            entry = AuditEntry.model_validate_json(line)
            changes = {"previous": previous, "event": "ended" if number == place else entry.event}
            lines.append(f"{entry.model_copy(update=changes).line()}\n".encode())
            previous = hash_of(lines[-1])
        assert len(read_chain(lines)) == 6, "as a chain there is nothing wrong with it"
        for head in HEADS[place - 1 :]:
            with pytest.raises(AuditError, match=f"rewritten: entry {head.sequence}"):
                verify(lines, head)
        for head in HEADS[: place - 1]:
            verify(lines, head)

    def test_a_log_that_was_cut_back_is_told_with_the_entry_that_is_missing(self):
        with pytest.raises(AuditError, match="cut back: alder signed entry 6, and the log ends at entry 4"):
            verify(LINES[:4])

    def test_what_came_after_the_head_is_free(self):
        verify(LINES, HEADS[3])
        verify(LINES, sign_head(ALDER, "alder", 0, BEFORE_THE_FIRST))

    def test_mutant_without_predecessors_hides_an_edit_before_the_head(self, monkeypatch):
        edited = [*LINES[:2], LINES[2].replace(b'"asked"', b'"ended"'), *LINES[3:]]

        def unchained(lines):
            """Mutant: numbers are checked, predecessors are not."""
            return [audit_log.Link(AuditEntry.model_validate_json(line), hash_of(line)) for line in lines]

        require_heads([link.hash for link in unchained(edited)], [HEADS[-1]])  # it finds nothing
        with pytest.raises(AuditError, match="line 4"):
            verify(edited)


class TestHead:
    def test_is_genuine(self):
        assert all(head.genuine for head in HEADS)
        assert AuditHead.model_validate_json(HEADS[0].model_dump_json()) == HEADS[0]

    @pytest.mark.parametrize(
        "forged",
        [
            {"site": "birch"},
            {"sequence": 5},
            {"hash": HASHES[0]},
            {"key": BIRCH.public_key().public_bytes_raw().hex()},
            {"key": "f" * 64},
            {"signature": "0" * 128},
        ],
    )
    def test_of_another_content_is_not(self, forged):
        head = HEADS[-1].model_copy(update=forged)
        assert not head.genuine
        with pytest.raises(AuditError, match="does not bear its signature"):
            require_heads(HASHES, [head])

    def test_a_signature_of_the_same_words_for_another_purpose_is_not(self):
        words = f"alder\n6\n{HASHES[-1]}".encode()
        assert not HEADS[-1].model_copy(update={"signature": ALDER.sign(words).hex()}).genuine

    def test_mutant_that_believes_unsigned_heads_convicts_an_honest_hospital(self, monkeypatch):
        slander = HEADS[-1].model_copy(update={"hash": HASHES[0], "signature": "0" * 128})
        with monkeypatch.context() as patch:
            patch.setattr(AuditHead, "genuine", True)
            with pytest.raises(AuditError, match="rewritten"):
                require_heads(HASHES, [slander])
        with pytest.raises(AuditError, match="signature"):
            require_heads(HASHES, [slander])
