import time

import pytest

from federation.errors import QuorumError
from federation.messages import DescribeReply, RefusalReply, TrainReply
from server_app.membership import assemble, wait_for_enough


@pytest.fixture
def assembled(on_grid, study, book):
    """The membership of the study over some hospitals."""

    def assemble_them(*hospitals, patience=0.2, deadline=20.0, chosen=study):
        return on_grid(lambda grid: assemble(grid, chosen, patience, deadline, book), *hospitals)

    return assemble_them


def refusing(site, rule="cohort-too-small", reason="fewer than 20"):
    return {
        "describe": lambda reply: RefusalReply(
            site=site, kind="refused", rule=rule, reason=reason, reference="abc123"
        )
    }


def names(**changes):
    return {"describe": lambda reply: DescribeReply(**{**reply.model_dump(), **changes})}


def raising(reply):
    raise RuntimeError("broken")


def test_all_who_come_are_members_in_the_order_of_the_study(assembled, four, study):
    membership = assembled(*reversed(four()), patience=60)
    assert tuple(membership.members) == study.participants
    assert [member.declared_patients for member in membership.members.values()] == [100, 200, 300, 400]
    assert membership.absent == {}


def test_every_member_is_known_by_a_node_of_its_own(assembled, four):
    membership = assembled(*four())
    assert len({member.node for member in membership.members.values()}) == 4


def test_a_refusal_leaves_its_hospital_out_by_name_with_the_rule(assembled, four):
    membership = assembled(*four(birch=refusing("birch")), patience=60)
    assert tuple(membership.members) == ("alder", "cedar", "dogwood")
    assert membership.absent == {"birch": "refused by cohort-too-small: fewer than 20 (reference abc123)"}


def test_a_stranger_is_named_and_no_member(assembled, four, hospital):
    membership = assembled(*four(), hospital("elm"))
    assert tuple(membership.members) == ("alder", "birch", "cedar", "dogwood")
    assert membership.absent == {"elm": "is not a participant of the study"}


def test_of_two_nodes_with_one_name_the_second_is_left_out(assembled, four, hospital):
    membership = assembled(*four(), hospital("alder", patients=9999))
    assert membership.members["alder"].declared_patients == 100
    (reason,) = membership.absent.values()
    assert reason == "says that it is alder, which another node is"


def test_nobody_is_put_out_by_a_refusal_that_another_node_sends_in_its_name(assembled, four, hospital):
    membership = assembled(*four(), hospital("elm", **refusing("alder")))
    assert "alder" in membership.members
    assert "alder" not in membership.absent
    (name,) = membership.absent
    assert name.startswith("node ")


def test_a_hospital_that_comes_after_such_a_refusal_is_a_member_and_not_absent(assembled, four, hospital):
    membership = assembled(hospital("elm", **refusing("alder")), *four())
    assert tuple(membership.members) == ("alder", "birch", "cedar", "dogwood")
    assert "alder" not in membership.absent


def test_who_does_not_come_is_waited_for_as_long_as_patience_lasts(assembled, four):
    begun = time.monotonic()
    membership = assembled(*four()[:3], patience=0.3)
    assert 0.3 <= time.monotonic() - begun < 5
    assert membership.absent == {"dogwood": "did not come within 0.3 s"}


def test_a_hospital_that_comes_while_another_hangs_is_still_asked(on_grid, four, study, book):
    *three, dogwood = four(alder={"describe": lambda reply: time.sleep(20)})

    def do(grid):
        nodes, everybody = sorted(grid.get_node_ids()), grid.get_node_ids
        looks = iter([nodes[:3]])
        grid.get_node_ids = lambda: next(looks, None) or everybody()
        return assemble(grid, study, patience=0.2, deadline=0.5, book=book)

    membership = on_grid(do, *three, dogwood)
    assert tuple(membership.members) == ("birch", "cedar", "dogwood")


@pytest.mark.parametrize(
    "describe",
    [
        raising,
        lambda reply: None,
        lambda reply: TrainReply(site="dogwood", round=1, steps=1, parameters=[]),
    ],
    ids=["raises", "returns nothing", "answers something else"],
)
def test_a_node_that_cannot_say_who_it_is_is_named_by_its_number(assembled, four, describe):
    membership = assembled(*four(dogwood={"describe": describe}))
    assert tuple(membership.members) == ("alder", "birch", "cedar")
    assert membership.absent["dogwood"] == "did not come within 0.2 s"
    assert [name for name in membership.absent if name.startswith("node ")]


def test_too_few_end_the_run_and_every_hospital_is_named_with_why(assembled, four, hospital):
    alder, birch, *_ = four(birch=refusing("birch"))
    with pytest.raises(QuorumError) as error:
        assembled(alder, birch, hospital("elm"))
    text = str(error.value)
    assert text.startswith("1 of at least 3 hospitals will take part.")
    for sentence in (
        "birch: refused by cohort-too-small",
        "elm: is not a participant",
        "cedar: did not come within 0.2 s",
        "dogwood: did not come within 0.2 s",
    ):
        assert sentence in text


def test_exactly_the_quorum_is_enough(assembled, four, study):
    three = four()[:3]
    assert len(assembled(*three).members) == study.quorum
    with pytest.raises(QuorumError):
        assembled(*three, chosen=study.model_copy(update={"quorum": 4}))


class Cut:
    """A grid of which some nodes are away until it was asked a few times."""

    def __init__(self, grid, away, times):
        self._grid, self._away, self._times, self.asked = grid, away, times, 0

    def get_node_ids(self):
        self.asked += 1
        there = list(self._grid.get_node_ids())
        return there if self.asked > self._times else there[self._away :]


@pytest.fixture
def asked(on_grid, four, study, book):
    """How often it is looked who is there, where so many of four hospitals are away the first two times."""

    def times(away, patience):
        def wait(grid):
            cut = Cut(grid, away, 2)
            wait_for_enough(cut, study, assemble(grid, study, 20, 20, book), patience)
            return cut.asked

        return on_grid(wait, *four())

    return times


def test_a_round_waits_for_hospitals_whose_line_is_cut(asked):
    assert asked(away=4, patience=60) == 3


def test_it_does_not_wait_where_enough_are_there(asked, study):
    assert asked(away=4 - study.quorum, patience=60) == 1


def test_it_waits_no_longer_than_patience_lasts(asked):
    assert asked(away=4, patience=0) == 1
