import time

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from federation.errors import MessageError, QuorumError
from federation.messages import DescribeReply, RefusalReply, TrainReply, to_content
from server_app.exchange import Answer
from server_app.membership import Member, Membership
from server_app.rounds import Rounds, valid_update

SITES = ("alder", "birch", "cedar", "dogwood")


def changed(**changes):
    return lambda reply: reply.model_copy(update=changes)


def with_parameters(change):
    return lambda reply: reply.model_copy(update={"parameters": change(reply.parameters)})


def put(values, value):
    values = values.copy()
    values[3] = value
    return values


def as_float64(reply):
    content = to_content(reply)
    content["arrays"] = ArrayRecord({"parameters": Array(reply.parameters.astype(np.float64))})
    return content


def raising(reply):
    raise RuntimeError("/data/Miller^Anna.dcm")


def refusing(reply):
    return RefusalReply(
        site=reply.site, kind="refused", rule="round-burnt", reason="too late", reference="r1"
    )


FAULTS = {
    "NaN": (with_parameters(lambda p: put(p, np.nan)), "invalid reply: parameters that are not finite"),
    "inf": (with_parameters(lambda p: put(p, -np.inf)), "invalid reply: parameters that are not finite"),
    "one too few": (with_parameters(lambda p: p[:-1]), "invalid reply: [257] parameters, not [258]"),
    "none": (with_parameters(lambda p: p[:0]), "invalid reply: [0] parameters, not [258]"),
    "a matrix": (with_parameters(lambda p: p.reshape(2, -1)), "invalid reply: parameters of float32[2, 129]"),
    "float64": (as_float64, "invalid reply: parameters of float64[258]"),
    "the last round": (changed(round=0), "invalid reply: it is of round 0"),
    "another's name": (changed(site="alder"), "invalid reply: it says that it is alder"),
    "another record": (
        lambda reply: DescribeReply(site=reply.site, declared_patients=10),
        "invalid reply: a DescribeReply is no TrainReply",
    ),
    "no record": (lambda reply: RecordDict(), "invalid reply: a message with records []"),
    "raises": (raising, "its node reports error "),
    "refuses": (refusing, "refused by round-burnt: too late (reference r1)"),
    "late": (lambda reply: time.sleep(20), "no reply within 0.5 s"),
}


@pytest.fixture
def start(layout):
    return np.linspace(-1, 1, layout.size, dtype=np.float32)


@pytest.fixture
def play(on_grid, study, layout, start, book):
    """The result of round 1 with these hospitals, all of them members."""

    def one_round(*hospitals, without=(), deadline=20.0, chosen=study, absent=None):
        def do(grid):
            nodes = sorted(grid.get_node_ids())
            members = {
                hospital.site: Member(node, hospital.patients, "")
                for node, hospital in zip(nodes, hospitals, strict=True)
                if hospital.site not in without
            }
            return Rounds(grid, chosen, Membership(members, absent or {}), layout, deadline, book=book).run(
                1, start
            )

        return on_grid(do, *hospitals)

    return one_round


def test_the_next_model_is_the_mean_of_the_sites_models_weighted_by_their_patients(play, four, start, layout):
    result = play(*four())
    expected = start.copy()
    expected[layout.mask] += (1 * 100 + 2 * 200 + 3 * 300 + 4 * 400) / 1000
    np.testing.assert_allclose(result.parameters, expected, rtol=1e-6)
    assert result.parameters.dtype == np.float32
    assert tuple(result.steps) == SITES
    assert result.absent == {}


def test_what_the_study_does_not_train_stays_as_it_is_bit_by_bit(play, four, start, layout):
    result = play(*four())
    assert (~layout.mask).any()
    assert np.array_equal(result.parameters[~layout.mask], start[~layout.mask])


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_site_that_is_at_fault_is_left_out_by_name_and_changes_nothing(play, four, fault, reason):
    result = play(*four(birch={"train": fault}), deadline=0.5 if fault is FAULTS["late"][0] else 20)
    assert tuple(result.steps) == ("alder", "cedar", "dogwood")
    assert list(result.absent) == ["birch"]
    assert result.absent["birch"].startswith(reason)
    assert "Miller" not in result.absent["birch"]
    without_it = play(*four(), without=["birch"])
    assert result.parameters.tobytes() == without_it.parameters.tobytes()


def test_without_our_checks_one_such_site_would_have_poisoned_the_model(on_grid, four, start, layout):
    """The mutant: Flower's own FedAvg over the same four updates."""
    size = int(layout.mask.sum())
    changes = [np.full(size, 1.0, np.float32) for _ in SITES]
    changes[1][3] = np.nan

    def aggregate(grid):
        replies = [
            Message(
                RecordDict(
                    {
                        "arrays": ArrayRecord({"trainable": Array(start[layout.mask] + change)}),
                        "metrics": MetricRecord({"num-examples": 100}),
                    }
                ),
                dst_node_id=0,
                message_type="train",
            )
            for change in changes
        ]
        strategy = FedAvg(fraction_train=0.0, min_train_nodes=0, min_available_nodes=0)
        list(strategy.configure_train(1, ArrayRecord(), ConfigRecord(), grid))
        return strategy.aggregate_train(1, replies)[0]["trainable"].numpy()

    poisoned = on_grid(aggregate, *four())
    assert np.isnan(poisoned[3])


def test_a_round_below_the_quorum_ends_and_names_everybody_who_is_missing(play, four):
    hospitals = four(alder={"train": FAULTS["NaN"][0]}, cedar={"train": FAULTS["raises"][0]})
    with pytest.raises(QuorumError) as error:
        play(*hospitals, absent={"elm": "is not a participant of the study"})
    text = str(error.value)
    assert text.startswith("round 1: 2 valid updates, quorum 3.")
    for sentence in ("alder: invalid reply", "cedar: its node reports error", "elm: is not a participant"):
        assert sentence in text


def test_when_all_fail_the_run_does_not_carry_on_with_the_old_model(play, four, study):
    bad = {"train": FAULTS["NaN"][0]}
    with pytest.raises(QuorumError, match="0 valid updates, quorum 1"):
        play(*four(**dict.fromkeys(SITES, bad)), chosen=study.model_copy(update={"quorum": 1}))


def test_who_was_absent_from_the_start_is_absent_from_every_round(play, four):
    result = play(*four()[:3], absent={"dogwood": "did not come within 1 s"})
    assert result.absent == {"dogwood": "did not come within 1 s"}


def test_the_order_in_which_replies_come_changes_no_bit(play, four):
    def slow(reply):
        time.sleep(0.15)
        return reply

    odd = {site: {"train": with_parameters(lambda p: p * np.float32(0.1))} for site in SITES}
    usual = play(*four(**odd))
    late_first = play(*four(**{**odd, "alder": {"train": lambda reply: slow(odd["alder"]["train"](reply))}}))
    other_nodes = play(*reversed(four(**odd)))
    assert usual.parameters.tobytes() == late_first.parameters.tobytes() == other_nodes.parameters.tobytes()


def test_a_valid_update_is_returned_as_it_came():
    reply = TrainReply(site="alder", round=1, steps=2, parameters=np.zeros(5, np.float32))
    assert valid_update(Answer(reply), "alder", 1, 5) is reply


def test_no_reply_is_no_update():
    with pytest.raises(MessageError, match="no reply within 3 s"):
        valid_update(Answer(None, "no reply within 3 s"), "alder", 1, 5)
