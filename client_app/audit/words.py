"""What the audit's page says in words."""

from dataclasses import dataclass
from typing import Literal

from client_app.audit.membership import most_found
from client_app.audit.records import CheckName, Inversion, Membership, MembershipAttack, PrivacyAudit
from federation.page.numbers import cost, count, percent, score, small, with_interval

QUESTIONS: dict[CheckName, str] = {
    "canaries": "how well can marked patients be found?",
    "noise size": "is there as much noise as promised?",
    "noise apart": "does any noise come twice?",
    "noise everywhere": "is any number released without noise?",
    "sensitivity": "can one patient count for more than allowed?",
    "noise share": "does each hospital add its own part of the noise, and that to every number?",
}


@dataclass(frozen=True)
class Fact:
    """A large number with its meaning."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Note:
    """A sentence set apart from the others."""

    kind: Literal["plain", "alarm"]
    text: str


def headline(audit: PrivacyAudit) -> str:
    """The one sentence that a board should remember."""
    if audit.rehearsal is None:
        return "This study promises its patients no privacy"
    if not audit.rehearsal.passed:
        return "The protection does not hold what it promises: do not train with this program"
    return "The protection does what it promises, as far as can be tested"


def explanation(audit: PrivacyAudit) -> str:
    """What was done, in two sentences."""
    tried = (
        "This program was tried on synthetic patients, as somebody would who wants to know who took part; "
        "that spends no patient's privacy."
    )
    if audit.membership is None:
        return tried
    return f"{tried} Then the finished model was attacked, with its patients' own images as a yardstick."


def facts(audit: PrivacyAudit) -> list[Fact]:
    """The numbers at the top of the page."""
    found = []
    if audit.epsilon is not None:
        found.append(Fact("promised", f"ε {cost(audit.epsilon)}", "the most each patient's privacy may cost"))
    if (rehearsal := audit.rehearsal) is not None:
        passed = sum(check.passed for check in rehearsal.checks)
        found.append(Fact("tests passed", f"{passed} of {len(rehearsal.checks)}", "of the rehearsal"))
    if audit.membership is not None:
        attack = audit.membership.attacks["calibrated"]
        note = f"{score(attack.auc)} is what the attack reaches, 0.50 is a coin"
        found.append(Fact("members told from others", f"AUC {score(attack.auc)}", note))
        note = f"of training patients; {percent(attack.false_alarms)} is guessing"
        found.append(Fact("named at 1 % false alarms", f"{attack.found:.1%}", note))
    if (inversion := audit.inversion) is not None and inversion.protected_psnr is not None:
        note = f"{inversion.bare_psnr:.0f} dB without protection"
        found.append(Fact("likeness of a rebuilt image", f"{inversion.protected_psnr:.0f} dB", note))
    return found


def notes(audit: PrivacyAudit) -> list[Note]:
    """What must not be overlooked."""
    found = [] if audit.membership is None else _broken_promise(audit, audit.membership)
    if audit.rehearsal is None:
        text = (
            "The study has no clipping and no noise, so there is nothing to rehearse: whoever sees an update "
            "or the model may learn of single patients. It is meant for public or synthetic data."
        )
        return [Note("alarm", text), *found]
    failed = [check for check in audit.rehearsal.checks if not check.passed]
    return [*(Note("alarm", f"Failed: {check.name}. {check.reason}.") for check in failed), *found]


def _broken_promise(audit: PrivacyAudit, membership: Membership) -> list[Note]:
    """Said if an attack finds more members than the study's promise leaves to anybody."""
    if audit.epsilon is None or audit.delta is None:
        return []
    found = []
    for name, attack in membership.attacks.items():
        most = most_found(attack.false_alarms, audit.epsilon, audit.delta)
        if attack.found_interval[0] > most:
            text = (
                f"The {name} attack finds {attack.found:.1%} of the training patients at "
                f"{percent(attack.false_alarms)} false alarms; the promise leaves at most {most:.1%} to "
                "anybody. Either the protection is broken, or the held-out patients are not like the others."
            )
            found.append(Note("alarm", text))
    return found


def membership_in_words(attack: MembershipAttack) -> str:
    """The calibrated attack's success."""
    auc = with_interval(attack.auc, attack.auc_interval)
    low, high = attack.found_interval
    verdict = (
        "That is no better than guessing, as far as so many patients can tell."
        if low <= attack.false_alarms
        else "That is better than guessing: the model remembers patients, or the held-out patients differ "
        "from those whom it learnt from in a way that can be seen without it."
    )
    return (
        f"Shown one training patient and one other, the attack picks the right one with a chance of {auc}. "
        f"If it may accuse {percent(attack.false_alarms)} of the others, it finds {attack.found:.1%} of the "
        f"members (95 % interval {low:.1%} to {high:.1%}). {verdict}"
    )


def inversion_caption(inversion: Inversion) -> str:
    """What the pictures are."""
    start = "Left: a generated picture; it shows nobody. "
    if inversion.protected_psnr is None:
        return start + "Right: what the attack rebuilds from the update that it causes."
    return (
        f"{start}Middle: what the attack rebuilds from the update that it causes, without protection. Right: "
        "what it rebuilds with this study's clipping and noise."
    )


def inversion_in_words(inversion: Inversion, fewest_in_sum: int | None) -> str:
    """How alike the pictures are; ``fewest_in_sum`` as in ``PrivacyAudit``."""
    known = (
        f"Likeness is measured in decibels (PSNR): a plain grey area reaches {inversion.constant_psnr:.1f}, "
        f"the picture rebuilt from the bare update {inversion.bare_psnr:.1f}"
    )
    if inversion.protected_psnr is None:
        return f"{known}.{_of_a_sum(fewest_in_sum, '')}"
    against = "less" if inversion.protected_psnr < inversion.constant_psnr else "more"
    return (
        f"{known}, the one rebuilt from the protected update {inversion.protected_psnr:.1f}: {against} than "
        "that grey area, which knows nothing of the update. The attack is made easy: a single patient with a "
        "single image, one step, a network that gives much away. Its search takes "
        f"{count(inversion.iterations, 'step')}."
        f"{_of_a_sum(fewest_in_sum, ', and meets no more noise than the promise counts on')}"
    )


def _of_a_sum(fewest: int | None, noise: str) -> str:
    """What the attacker has where updates travel in sums."""
    if fewest is None:
        return ""
    return (
        f" The coordinator of this study sees no single update but sums over {fewest} hospitals or more; the "
        f"attack is given everything else that is in such a sum{noise}."
    )


def promise(audit: PrivacyAudit) -> str:
    """The study's promise and what it is made of."""
    if audit.epsilon is None:
        return "none"
    return (
        f"ε = {cost(audit.epsilon)}, δ = {small(audit.delta)}; unit: a patient; adjacency: add or remove "
        f"one; clipping norm {audit.clipping_norm:g}, sampling rate {audit.sampling_rate:g}, "
        f"{count(audit.steps, 'step')}"
    )


def limits(audit: PrivacyAudit) -> list[str]:
    """What a reader might take from the page that is not there."""
    found = [
        "A passed rehearsal is no proof of privacy. It finds gross faults of the program: noise that is "
        "missing, too small or used twice, and patients who count for too much. The promise itself rests on "
        "mathematics.",
        "The canaries are tried at ε = 3 with every patient in one step, where one run can prove most; at a "
        "large ε, or where patients are sampled, the same test would see little.",
        "It says nothing about theft of data, about what people tell, or about what the diagnosis of one "
        "patient says of relatives.",
    ]
    if audit.mode == "distributed":
        found.append(
            "A single hospital adds only a share of the noise, and could not stand the canaries by itself. "
            "They, and the first tests of noise, are tried as if it added all; its share has a test of its "
            "own, and that the other hospitals add theirs cannot be seen from one."
        )
    if audit.membership is not None:
        found.append(
            "Held-out patients stand for everybody else. Where they differ from the training patients, an "
            "attack may see the difference and not the training."
        )
        found.append(
            "The attack's result was computed from patients' data and is not protected: it stays with "
            "whoever may see these patients."
        )
    return found
