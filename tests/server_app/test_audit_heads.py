import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import MessageType
from hypothesis import given
from hypothesis import strategies as st

from federation.audit_log import sign_head
from federation.errors import AuditError, MessageError
from federation.messages import MOST_HEADS, DescribeReply, DescribeRequest, RefusalReply, from_content
from server_app.audit_heads import HeadBook
from server_app.exchange import ask

ONE, TWO, OTHER = (hashlib.sha256(text).hexdigest() for text in (b"one", b"two", b"other"))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit-heads.jsonl"


@pytest.fixture
def book(path):
    return HeadBook(path)


class TestBook:
    def test_keeps_the_newest_head_of_each_hospital_and_all_that_ever_came(self, book, path, head):
        heads = [head("alder"), head("birch", 1, ONE), head("alder", 2, TWO)]
        for one in heads:
            book.note(one.site, [one])
        for each in (book, HeadBook(path)):
            assert set(each.known) == {heads[1], heads[2]}
            assert each.heads == tuple(heads)
        assert len(path.read_text().splitlines()) == 3

    def test_the_same_head_again_is_fine_and_not_written_twice(self, book, path, head):
        for _ in range(2):
            book.note("alder", [head("alder", 1, ONE)])
        assert len(path.read_text().splitlines()) == 1

    def test_a_reply_without_its_own_head_is_none(self, book, head):
        for heads in ([], [head("birch")]):
            with pytest.raises(MessageError, match="alder sent no head"):
                book.note("alder", heads)
        assert book.known == ()

    def test_what_bears_no_signature_is_none(self, book, head):
        with pytest.raises(MessageError, match="does not bear its signature"):
            book.note("alder", [head("alder", 1, ONE).model_copy(update={"hash": TWO})])
        assert book.heads == ()

    def test_another_key_is_another_identity(self, book, head):
        book.note("alder", [head("alder", 1, ONE)])
        with pytest.raises(MessageError, match="alder's identity changed from key"):
            book.note("alder", [sign_head(STRANGER, "alder", 2, TWO)])
        assert book.known == (head("alder", 1, ONE),)

    def test_a_log_that_went_back_is_told_and_stays_told(self, book, path, head):
        book.note("alder", [head("alder", 2, TWO)])
        for each in (book, HeadBook(path)):
            with pytest.raises(MessageError, match="went back from entry 2 to 1"):
                each.note("alder", [head("alder", 1, ONE)])
            assert each.known == (head("alder", 2, TWO),)

    def test_a_log_that_forked_is_told_and_both_heads_are_kept_as_proof(self, book, head):
        book.note("alder", [head("alder", 2, TWO)])
        with pytest.raises(MessageError, match="two different entries 2"):
            book.note("alder", [head("alder", 2, OTHER)])
        assert book.heads == (head("alder", 2, TWO), head("alder", 2, OTHER))
        assert book.known == (head("alder", 2, TWO),)

    @given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
    def test_exactly_what_goes_back_is_refused(self, tmp_path_factory, sequences):
        identity = Ed25519PrivateKey.from_private_bytes(bytes([7] * 32))
        book, furthest = HeadBook(tmp_path_factory.mktemp("book") / "heads.jsonl"), 0
        for sequence in sequences:
            digest = hashlib.sha256(b"%d" % sequence).hexdigest()
            signed = sign_head(identity, "alder", sequence, digest)
            if sequence < furthest:
                with pytest.raises(MessageError, match="went back"):
                    book.note("alder", [signed])
            else:
                book.note("alder", [signed])
            furthest = max(furthest, sequence)
            assert book.known[0].sequence == furthest


class TestPeers:
    def test_a_newer_head_of_a_peer_is_taken_down(self, book, head):
        book.note("birch", [head("birch", 1, ONE)])
        book.note("alder", [head("alder"), head("birch", 2, TWO)])
        assert set(book.known) == {head("alder"), head("birch", 2, TWO)}
        with pytest.raises(MessageError, match="went back from entry 2 to 1"):
            book.note("birch", [head("birch", 1, ONE)])

    def test_of_a_peer_that_has_not_come_yet_nothing_is_believed(self, book, head):
        book.note("alder", [head("alder"), head("birch", 2, TWO)])
        assert book.known == (head("alder"),)

    def test_old_and_false_heads_of_a_peer_harm_nobody(self, book, head):
        book.note("birch", [head("birch", 2, TWO)])
        for old_or_false in (
            head("birch", 1, ONE),
            sign_head(STRANGER, "birch", 9, OTHER),
            head("birch", 9, ONE).model_copy(update={"hash": OTHER}),
        ):
            book.note("alder", [head("alder"), old_or_false])
        assert set(book.known) == {head("alder"), head("birch", 2, TWO)}
        assert len(book.heads) == 2

    def test_a_fork_that_only_a_peer_was_shown_is_kept_as_proof(self, book, head):
        book.note("birch", [head("birch", 2, TWO)])
        book.note("alder", [head("alder"), head("birch", 2, OTHER)])
        assert head("birch", 2, OTHER) in book.heads
        assert head("birch", 2, TWO) in book.known


class TestFile:
    def test_two_runs_may_share_it(self, book, path, head):
        other = HeadBook(path)
        book.note("alder", [head("alder", 1, ONE)])
        other.note("birch", [head("birch", 1, ONE)])
        other.note("alder", [head("alder", 2, TWO)])
        with pytest.raises(MessageError, match="went back"):
            book.note("alder", [head("alder", 1, ONE)])
        assert HeadBook(path).known == other.known

    def test_a_line_that_a_power_cut_broke_off_is_cut_away(self, book, path, head):
        book.note("alder", [head("alder", 1, ONE)])
        with path.open("ab") as file:
            file.write(b'{"site":"al')
        again = HeadBook(path)
        assert again.known == (head("alder", 1, ONE),)
        again.note("alder", [head("alder", 2, TWO)])
        assert HeadBook(path).known == (head("alder", 2, TWO),)

    @pytest.mark.parametrize(
        "change", [(b'"sequence":1', b'"sequence":2'), (b"{", b""), (b"alder", b"birch")]
    )
    def test_a_book_that_was_tampered_with_is_not_read(self, change, book, path, head):
        book.note("alder", [head("alder", 1, ONE)])
        path.write_bytes(path.read_bytes().replace(*change, 1))
        with pytest.raises(AuditError, match="line 1 is not a head that belongs there"):
            HeadBook(path)

    def test_mutant_that_forgets_lets_a_log_go_back(self, path, head):
        class Forgets(HeadBook):
            """Mutant: it writes heads down, and holds no later one against them."""

            def _enter(self, head):
                self._heads[head] = None

        for book in (Forgets(path), HeadBook(path)):
            book.note("alder", [head("alder", 2, TWO)])
        Forgets(path).note("alder", [head("alder", 1, ONE)])  # it finds nothing
        with pytest.raises(MessageError, match="went back"):
            HeadBook(path).note("alder", [head("alder", 1, ONE)])


class TestExchange:
    @pytest.fixture
    def answers(self, on_grid, study, book):
        """The answers of these nodes, asked ``rounds`` times; the last ones are returned."""

        def ask_them(*nodes, rounds=1):
            def do(grid):
                questions = dict.fromkeys(sorted(grid.get_node_ids()), DescribeRequest(study=study))
                for _ in range(rounds):
                    last = list(ask(grid, questions, MessageType.QUERY, 20.0, book).values())
                return last

            return on_grid(do, *nodes)

        return ask_them

    def test_every_question_tells_what_is_known_and_every_reply_is_noted(self, answers, book, head):
        told = []

        def node(message):
            told.append(from_content(message.content).heads)
            heads = (head("alder", len(told), hashlib.sha256(b"%d" % len(told)).hexdigest()),)
            return DescribeReply(site="alder", declared_patients=10, heads=heads)

        answers(node, rounds=2)
        assert [[one.sequence for one in heads] for heads in told] == [[], [1]]
        assert [one.sequence for one in book.known] == [2]

    @pytest.mark.attack(
        "a node that answers under more names than a question has room for heads",
        held_by="questions tell of the study's hospitals alone",
    )
    def test_questions_tell_nothing_of_hospitals_that_are_not_in_the_study(self, answers, book, head):
        for number in range(MOST_HEADS + 1):
            book.note(f"name_{number}", [head(f"name_{number}")])
        book.note("alder", [head("alder")])
        told = []

        def node(message):
            told.append(from_content(message.content).heads)
            return DescribeReply(site="alder", declared_patients=10)

        (alder,) = answers(node)
        assert alder.record.site == "alder"
        assert told == [(head("alder"),)]

    def test_a_reply_that_contradicts_the_book_is_a_problem_of_its_node_alone(self, answers, book, head):
        book.note("alder", [head("alder", 2, TWO)])
        alder, birch = answers(
            lambda message: DescribeReply(site="alder", declared_patients=10, heads=(head("alder", 1, ONE),)),
            lambda message: DescribeReply(site="birch", declared_patients=10),
        )
        assert alder.record is None
        assert alder.problem.startswith("invalid reply: alder's audit log went back from entry 2 to 1")
        assert birch.record.site == "birch"

    def test_refusals_are_noted_too_but_not_those_of_a_relay_without_its_custodian(self, answers, book, head):
        def refuses(site, heads=()):
            return lambda message: RefusalReply(
                site=site, kind="failed", rule="x", reason="y", reference="z", heads=heads
            )

        alder, relay = answers(refuses("alder", (head("alder", 1, ONE),)), refuses(""))
        assert book.known == (head("alder", 1, ONE),)
        assert alder.problem == relay.problem == "failed by x: y (reference z)"
