"""A study in words, for whoever has to decide about it."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from client_app.books.told import told as in_tens
from client_app.custodian.ledger.studies import Approval, Proposal
from client_app.desk.questions import Demand, Room, StudyState, StudyView
from federation.against import (
    ONLOOKERS,
    bounded,
    evaluation_guarantees,
    guarantees,
    headline,
    in_words,
    league,
    travel,
)
from federation.command_line import printable
from federation.messages import BINS
from federation.promise import evaluation_noise, seen
from federation.secure_sum.roster import Roster
from federation.study import ModelSpec, Study
from federation.unit import at_delta

_MOST_CHARACTERS = 600
_LEARNS = {
    "all": "all of it learns",
    "last_block": "its last block and its head learn",
    "norm_and_head": "its normalisation and its head learn",
    "head": "only its head learns",
}
_START = {
    "random": "random weights",
    "phantom": "weights taught by generated examples, which show nobody",
    "noise": "statistics of generated noise images, which show nobody",
}


def shown(words: str) -> Text:
    """A stranger's ``words`` as they may stand on a terminal: no control of it, no mark-up, one line."""
    beginning, more = printable(words[:_MOST_CHARACTERS]), len(words) - _MOST_CHARACTERS
    return Text(beginning if more <= 0 else f"{beginning} … and {more} characters more")


def study_table(states: Iterable[StudyState]) -> Table:
    """A row for each study."""
    table = Table(
        box=SIMPLE_HEAD,
        caption=f"ε is {at_delta(None)}, at the study's δ, against whom the study promises it; in brackets "
        f"against {ONLOOKERS['everybody']}, where that is another.",
    )
    for name in ("study", "title", "asked", "state", "by", "until", "ε cap", "rounds", "ε so far"):
        table.add_column(name, overflow="fold")
    for state in states:
        proposal, approval = state.proposal, state.proposal.approval
        table.add_row(
            proposal.study.id[:12],
            shown(proposal.study.title),
            _day(proposal.asked),
            proposal.state,
            shown(proposal.revoked_by or (approval.by if approval else "")),
            str(approval.until) if approval else "",
            _number(approval.epsilon_cap) if approval else "",
            f"{state.rounds} of {proposal.study.rounds}",
            _epsilon_so_far(state),
        )
    return table


def study_facts(
    view: StudyView, demand: Demand | str, room: Room | None, roster: Roster | str | None = None
) -> Table:
    """What a study asks of this hospital, a fact a row.

    Args:
        view: what the custodian knows of it.
        demand: what it asks for in numbers, or why that is not known.
        room: what it would leave of patients' budgets; None where that is not known.
        roster: that is pinned here, or why it cannot be read; None where none is.
    """
    study = view.proposal.study
    facts = {
        "study": shown(f"{study.title} ({study.name})"),
        "id": study.id,
        "state": _state(view),
        "purpose": shown(study.purpose),
        "predicts": shown(f"{' or '.join(study.task.classes)}, from {_input(study)}"),
        "data": shown(
            f"this hospital's training patients for {study.task.package}, without those who have withdrawn"
            f"{_options(study)}"
        ),
        "network": shown(f"{study.model.network} {_arguments(study.model)}"),
        "starts from": shown(study.start_from or _START[study.pretraining.source]),
        "computes": _computes(study),
        "leaves here": _leaves(study, demand),
        "updates travel": _travel(study),
        "worst case": _promise(study),
        "rests on": _trust(study, demand),
        "hospitals": shown(", ".join(study.participants)),
        **_keys(study, roster),
        "quorum": f"a round counts with {max(study.quorum, study.fewest_hospitals)} of "
        f"{len(study.participants)} hospitals",
        "ends": "names no last day; whoever approves gives one" if study.expires is None else study.expires,
        "policy": shown(
            "every rule that needs no patients is met; how many there are is asked when it opens here"
            if view.decision.allowed
            else f"REFUSES it by {view.decision.rule}: {view.decision.reason}"
        ),
        **_budget(room),
        "installed": view.release or "the policy does not allow the task, so its code was not read",
    }
    table = Table(box=None, show_header=False)
    for name, value in facts.items():
        table.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    table.columns[1].overflow = "fold"
    return table


def _state(view: StudyView) -> Text:
    proposal, approval = view.proposal, view.proposal.approval
    return shown(f"{_history(proposal)}{_other_release(approval, view.release)}; {_so_far(view)}")


def _history(proposal: Proposal) -> str:
    asked, approval = f"asked for on {_day(proposal.asked)}", proposal.approval
    if proposal.revoked_by is not None and proposal.revoked is not None:
        return f"{asked}, revoked for good by {proposal.revoked_by} on {_day(proposal.revoked)}"
    if approval is None:
        return f"{asked}, waits for somebody to decide"
    cap = "" if approval.epsilon_cap is None else f", up to ε = {approval.epsilon_cap:g}"
    if cap:
        cap += f" against {headline(proposal.study)}"
    return f"{asked}, approved by {approval.by} on {_day(approval.at)} until {approval.until}{cap}"


def _other_release(approval: Approval | None, installed: str | None) -> str:
    if approval is None or approval.release == installed:
        return ""
    return f", with {approval.release}, which is not installed: it waits for a new approval"


def _so_far(state: StudyState) -> str:
    study = state.proposal.study
    if study.privacy.mode == "none":
        spent = "without privacy"
    else:
        spent = f"{bounded(state.epsilon)} against {headline(study)}"
        if state.epsilon_everybody != state.epsilon:
            spent += f" and {bounded(state.epsilon_everybody)} against {ONLOOKERS['everybody']}"
    return f"{state.rounds} of {study.rounds} rounds so far, {spent}"


def _epsilon_so_far(state: StudyState) -> str:
    if state.proposal.study.privacy.mode == "none":
        return "no privacy"
    promised, everybody = (
        "no bound" if epsilon is None else f"{epsilon:.2f}"
        for epsilon in (state.epsilon, state.epsilon_everybody)
    )
    return promised if state.epsilon == state.epsilon_everybody else f"{promised} ({everybody})"


def _input(study: Study) -> str:
    size = " x ".join(str(side) for side in (study.task.channels, *study.task.image_size))
    if not study.task.image_size:
        return f"rows of {size} numbers"
    return (
        f"{'images that are said to be drawn, not acquired,' if study.task.rendered else 'images'} of {size}"
    )


def _options(study: Study) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in study.task.options.items())
    return f"; the task is told {given}" if given else ""


def _arguments(model: ModelSpec) -> str:
    given = ", ".join(f"{name}={value}" for name, value in model.arguments.items())
    return f"({given}); {_LEARNS[model.trainable]}"


def _computes(study: Study) -> str:
    chance = study.privacy.sampling_rate
    who = "every patient" if chance == 1 else f"each patient with a chance of {chance:g}"
    steps = "one step" if study.training.steps == 1 else f"{study.training.steps} steps"
    return f"{study.rounds} rounds of {steps}, {who} in each step"


def _leaves(study: Study, demand: Demand | str) -> Text:
    if isinstance(demand, str):
        return shown(f"not known: {demand}")
    noise = demand.noise_multiplier
    if noise is None:
        protection = "WITHOUT any noise, from which patients' images can be rebuilt"
    elif study.privacy.mode == "distributed":
        protection = (
            f"with this hospital's share of the noise, {seen(study, noise).everybody:.3g} times what one "
            f"patient can add; together with the others' it is {noise:.3g} times before {headline(study)}"
        )
    else:
        protection = f"with this hospital's own noise of {noise:.3g} times what one patient can add"
    told = "" if study.evaluation is None else f"; at the end, once, {_histogram(study)}"
    return Text(
        f"in each round one update of {demand.numbers:,} numbers, {protection}{told}; beside it "
        "declared_patients and description of the site's config, and how many steps were computed; nothing "
        "else"
    )


def _histogram(study: Study) -> str:
    noise = evaluation_noise(study)
    if noise is None:
        protection = "WITHOUT any noise"
    else:
        share = " its share of the" if study.privacy.mode == "distributed" else ""
        protection = f"each with{share} noise of about {seen(study, noise).everybody:.2g} patients"
    return f"{2 * BINS} counts of held-out patients by the model's score, {protection}"


def _keys(study: Study, roster: Roster | str | None) -> dict[str, Text]:
    """Whether people here have compared the keys of all who are in its sums."""
    if study.parties is None:
        return {}
    if isinstance(roster, str):
        said = f"not known: {roster}"
    elif roster is None:
        said = (
            "no roster is pinned here, so it will be REFUSED until one is: wardround-site roster pin ROSTER"
        )
    elif strangers := [site for site in study.participants if site not in roster.keys]:
        said = (
            f"roster version {roster.version}, which is pinned here, has no key of {', '.join(strangers)}, "
            "so it will be REFUSED until a later one has; ask the coordinator for it"
        )
    else:
        said = f"all in the roster that is pinned here, version {roster.version}: {roster.fingerprint}"
    return {"keys": shown(said)}


def _promise(study: Study) -> str:
    privacy = study.privacy
    if privacy.epsilon is None:
        return "NO promise to patients"
    told = study.evaluation
    held_out = (
        "" if told is None else f"; ε = {told.epsilon:g} for each who is held out, from the counts alone"
    )
    return (
        f"ε = {privacy.epsilon:g} {at_delta(privacy.delta)} against {headline(study)}, if every round runs"
        f"{held_out}"
    )


def _trust(study: Study, demand: Demand | str) -> str:
    """What each ε rests on, a line for each who may be looking."""
    if study.privacy.mode == "none":
        return "everybody who sees an update or the model"
    if isinstance(demand, str):  # what could not be computed once is not tried again
        return f"against {headline(study)}; what it is against others is not known"
    lines = [f"{in_words([each])}. {each.assumption}" for each in guarantees(study)]
    told = evaluation_guarantees(study)
    if len(told) > 1:
        lines.append(f"Of each who is held out: {in_words(told)}.")
    return "\n".join(lines)


def _travel(study: Study) -> str:
    who = league(study)
    return travel(study) + (f", {who}" if who else "")


def _budget(room: Room | None) -> Mapping[str, str]:
    if room is None:
        return {"budget": "not known"}
    cap = room.lifetime
    left = (
        "no bound: whoever was in a study without privacy can be in no later one that promises something"
        if room.left is None
        else f"ε = {room.left:.2f} of {cap.epsilon:g} at δ = {cap.delta:g} against {ONLOOKERS[cap.against]}, "
        "for whoever has spent most"
    )
    if not room.started and not room.newcomers:
        return {
            "budget": "NOBODY has room for it: it adds up to more than the policy's lifetime of ε = "
            f"{cap.epsilon:g} at δ = {cap.delta:g} even for whoever was in no study before, so it will be "
            "REFUSED as cohort-too-small; a promise counts for more in a sum than by itself, so a lifetime "
            "has to be larger than one study's ε"
        }
    if room.started:
        return {"budget": "set aside when the study started here", "left after it": left}
    if room.nobody:
        return {
            "budget": "nobody was in a study here before, so all have all of theirs",
            "left after it": left,
        }
    known, fit = (in_tens(number or 0, room.minimum) for number in (room.known, room.room))
    return {
        "budget": f"there is room for {fit} of the {known} patients who were in a study here before and have "
        "not withdrawn; everybody else has all of theirs",
        "left after it": left,
    }


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
