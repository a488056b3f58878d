"""``model_card.md``: what whoever takes the released model away has to know."""

from pathlib import Path

from federation.against import bounded
from federation.files import write_whole
from federation.study import PrivacyMode, Study
from server_app.record import Measurement, PrivacyStatement, Summary

_CARD = """\
# {version}

{title}. Purpose as approved: {purpose}. **Not a medical device.**

| | |
|---|---|
| study | {study}, id `{study_id}` |
| network | {network}, trained: {trainable}; {input} |
| classes | {classes} |
| start | {start} |
| training | {rounds} rounds of {steps}, {strategy}; {average} |
| hospitals | {hospitals} |

## Privacy

{privacy}

Somebody treated at two of these hospitals is two patients here: {twice}.

## Results

{results}

## Use

`models/final.safetensors` holds one float32 tensor for each parameter, under the network's own names;
`models/final.json` says where it comes from and gives its SHA-256. Input must be prepared as the study's task
does it; anything else has not been tested.
"""


_TWICE: dict[PrivacyMode, str] = {
    "none": "nothing is promised to either",
    "local": "their ε add up",
    "distributed": "both parts are in one sum, which has the ε of half the noise, more than twice as large",
}
_TRAINED = {
    "all": "all of it",
    "last_block": "its last block and head",
    "norm_and_head": "its norms and head",
    "head": "its head",
}


def write_model_card(folder: Path, study: Study, summary: Summary) -> None:
    """Write the card of the model that a completed run has released."""
    card = _CARD.format(
        version=summary.model_version,
        twice=_TWICE[study.privacy.mode],
        title=study.title,
        purpose=study.purpose,
        study=study.name,
        study_id=study.id,
        network=study.model.network,
        trainable=_TRAINED[study.model.trainable],
        input=_input(study),
        classes=", ".join(study.task.classes),
        start=_start(study),
        rounds=study.rounds,
        steps="one step" if study.training.steps == 1 else f"{study.training.steps} steps",
        strategy=study.strategy.name,
        average=_average(study),
        hospitals="; ".join(
            f"{name}: {site.patients} patients, {site.rounds} rounds" for name, site in summary.sites.items()
        ),
        privacy=_privacy(summary),
        results=_results(summary),
    )
    write_whole(folder / "model_card.md", card.encode())


def _input(study: Study) -> str:
    channels, size = study.task.channels, " x ".join(str(side) for side in study.task.image_size)
    if not size:
        return f"rows of {channels} numbers"
    return f"{channels} channel{'' if channels == 1 else 's'}, {size} pixels"


def _average(study: Study) -> str:
    if study.moving_average is not None:
        return f"the moving average of all rounds' models that keeps {study.moving_average:g} of itself"
    return f"the average of the last {study.tail_rounds} rounds' models"


def _start(study: Study) -> str:
    if study.start_from is not None:
        return f"{study.start_from}, a model of an earlier study, whose cost to patients comes on top"
    if study.pretraining.source == "random":
        return "random weights"
    head = "a head of zeros" if study.pretraining.keep == "features" else "the head they taught"
    return f"weights taught by {study.pretraining.examples} generated examples of nobody, with {head}"


def _privacy(summary: Summary) -> str:
    privacy = summary.privacy
    if privacy.epsilon is None:
        return (
            "None was promised: no clipping, no noise. The model may give away who it was trained on. "
            f"Updates travelled {privacy.travel}."
        )
    spent = "; ".join(
        f"{name}: {'no steps' if site.epsilon is None else f'{site.epsilon:.2f}'}"
        for name, site in summary.sites.items()
    )
    first = next(iter(privacy.guarantees), None)
    whom = "against whom is not on record" if first is None else f"against {first.title}"
    text = (
        f"ε = {privacy.epsilon:g} at δ = {privacy.delta:g}, {whom}. Unit: {privacy.unit}, with all of a "
        f"patient's images. Adjacency: {privacy.adjacency}. Spent by the steps really run: {spent}. Updates "
        f"travelled {privacy.travel}.\n\n{_against(privacy)}"
    )
    if privacy.secret == "operating system":  # noqa: S105
        return text
    return f"**The noise of this run came from a seed, so it protects nobody.** {text}"


def _against(privacy: PrivacyStatement) -> str:
    """What the whole study costs before each who may be looking, and what that rests on."""
    rows = "\n".join(
        f"| {each.title} | {bounded(each.epsilon)} | {each.assumption} |" for each in privacy.guarantees
    )
    return f"| against | the whole study | what it rests on |\n|---|---|---|\n{rows}"


def _results(summary: Summary) -> str:
    if summary.pooled is None:
        told = summary.held_out
        if told is None or told.auc is None or told.auc_interval is None:
            return "Hospitals release no scores of single patients; none were measured."
        low, high = told.auc_interval
        return (
            f"By noised counts of held-out patients' scores at {', '.join(told.hospitals)}: AUC "
            f"{told.auc:.3f} ({low:.3f}–{high:.3f}, of noise and chance)."
        )
    rows = [("this model", summary.pooled), *summary.baselines.items()]
    rendered = " The images are rendered, not acquired." if summary.rendered else ""
    table = "\n".join(f"| {name} | {_area(measured)} |" for name, measured in rows)
    return (
        f"In a simulation, on {summary.pooled.images} images of {summary.pooled.patients} test patients of "
        f"all hospitals.{rendered} Intervals are 95 %, by bootstrap over patients.\n\n"
        f"| | test AUC |\n|---|---|\n{table}"
    )


def _area(measured: Measurement) -> str:
    if measured.auc is None or measured.auc_interval is None:
        return "one class only"
    low, high = measured.auc_interval
    harder = measured.stratum
    part = f"; {harder.label}: {harder.auc:.3f}" if harder is not None and harder.auc is not None else ""
    return f"{measured.auc:.3f} ({low:.3f}–{high:.3f}){part}"
