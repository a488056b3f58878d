"""What a patient's consents say of research (FHIR R4, 6.2), read so that doubt means no.

A permission counts only where it is certain: the consent is active, of scope research, of no later day, and
today lies in its period. One that is limited, to somebody, to an action or to some of the data, counts only
where it is limited to parts of the hospital's consent form that its settings name. A denial counts wherever
it may be meant: at any depth, whatever it is limited to, unless its period is surely over, or its purpose
surely another one. A consent that was rejected, or that permitted and was ended, is a denial until a later
one permits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from client_app.data.fhir.parts import Code, Period
from client_app.data.fhir.people import Consent, Provision
from federation.schema import Frozen

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
_SCOPE = f"{_TERMINOLOGY}consentscope"
_POLICY = f"{_TERMINOLOGY}v3-ActCode"
_REASON = f"{_TERMINOLOGY}v3-ActReason"
_RESEARCH = (_SCOPE, "research")
# What a permission for research is called; trials are another thing.
_PERMITTED = frozenset({(_REASON, "HRESCH")})
# Whatever is research, for denials: HL7 v3 ActReason, HRESCH and below, and what stands above it.
_TRIALS = ("CLINTRCH", "CLINTRCHNPC", "CLINTRCHPC", "PRECLINTRCH")
_RESEARCH_CODES = ("HRESCH", "BIORCH", "DSRCH", "POARCH", "TRANSRCH", *_TRIALS)
_DENIED = frozenset((_REASON, code) for code in (*_RESEARCH_CODES, "PurposeOfUse"))

Stance = Literal["permit", "deny"]
Rule = Literal[
    "permitted", "not-denied", "opted-out", "denied", "unreadable-consent", "no-permit", "not-found"
]


class ConsentRules(Frozen):
    """Which patients' data may be used at this hospital.

    Attributes:
        policy: with ``opt_in`` whoever has an active permission and no denial, with ``opt_out`` whoever has
            no denial.
        opt_outs: a CSV file with a column ``patient``, the numbers of whoever is out whatever else is said.
        parts: ``address|code`` of the parts of the hospital's consent form that this research falls under.
    """

    policy: Literal["opt_in", "opt_out"] = "opt_in"
    opt_outs: Path | None = None
    parts: tuple[Annotated[str, Field(pattern=r"^\S+\|\S+$")], ...] = ()

    @property
    def codes(self) -> frozenset[Code]:
        """The parts, as FHIR has them."""
        split = (text.rpartition("|") for text in self.parts)
        return frozenset((system, code) for system, _, code in split)


@dataclass(frozen=True)
class Decision:
    """Whether a patient's data may be used, and by which rule.

    Attributes:
        allowed: whether.
        rule: what decided.
        records: how many records of the server have the patient's number.
    """

    allowed: bool
    rule: Rule
    records: int = 1


def decide(consents: Sequence[Consent | None], rules: ConsentRules, today: date) -> Decision:
    """What all consents of a patient come to.

    Args:
        consents: those that the server has; None for one that could not be read.
        rules: of the hospital.
        today: the day on which it is decided.
    """
    if None in consents:
        return Decision(False, "unreadable-consent")
    permits, ended = [], []
    for consent in (each for each in consents if each is not None and _concerns(each)):
        stance = _stance(consent, rules, today)
        if consent.status == "active":
            if stance == "deny":
                return Decision(False, "denied")
            if stance == "unclear":
                return Decision(False, "unreadable-consent")
            if stance == "permit" and _RESEARCH in consent.scope.codes and not _to_come(consent, today):
                permits.append(consent)
        elif consent.status == "rejected" or (consent.status == "inactive" and _once_permitted(consent)):
            ended.append(consent)
    if any(not any(_later(permit, each) for permit in permits) for each in ended):
        return Decision(False, "denied")
    if permits:
        return Decision(True, "permitted")
    return Decision(True, "not-denied") if rules.policy == "opt_out" else Decision(False, "no-permit")


def _concerns(consent: Consent) -> bool:
    """Whether it may be about research: of a scope that is not known, or with research among its purposes."""
    other = {(_SCOPE, "treatment"), (_SCOPE, "adr")}
    return not consent.scope.codes or not consent.scope.codes <= other or _names_research(consent.provision)


def _names_research(provision: Provision | None) -> bool:
    """Whether it, or one inside it, is for research, in any system: forms for treatment have a line on it."""
    if provision is None:
        return False
    told = any((_REASON, each.code) in _DENIED for each in provision.purpose)
    return told or any(map(_names_research, provision.provision))


def _stance(consent: Consent, rules: ConsentRules, today: date) -> Stance | Literal["unclear"] | None:
    """What it says: None for nothing that holds today."""
    base = _by_policy(consent)
    if consent.provision is None:
        return base or "unclear"
    if base == "deny" and consent.provision.type == "permit":
        return "unclear"
    said = _of_provision(consent.provision, base, rules, today)
    silent = consent.provision.type is None and base is None and not consent.provision.provision
    return "unclear" if silent or (said != "deny" and _untold_inside(consent.provision)) else said


def _untold_inside(provision: Provision) -> bool:
    """Whether an exception, or one of its own, does not say if it permits or denies, as R4 asks of it."""
    return any(each.type is None or _untold_inside(each) for each in provision.provision)


def _by_policy(consent: Consent) -> Stance | None:
    """What holds but for the provisions."""
    policy = {code for system, code in consent.policy_rule.codes if system == _POLICY}
    if policy & {"OPTOUT", "OPTOUTE"}:
        return "deny"
    return "permit" if policy == {"OPTIN"} else None


def _once_permitted(consent: Consent) -> bool:
    """Whether it permitted anything, or does not say what it did."""
    kinds = set(_kinds(consent.provision))
    if consent.provision is None or consent.provision.type is None:
        kinds.add(_by_policy(consent) or "permit")
    return "permit" in kinds


def _kinds(provision: Provision | None) -> Iterable[Stance]:
    if provision is not None:
        if provision.type is not None:
            yield provision.type
        for each in provision.provision:
            yield from _kinds(each)


def _of_provision(
    provision: Provision, base: Stance | None, rules: ConsentRules, today: date
) -> Stance | None:
    """What the outermost provision and its exceptions come to; any denial among those is one."""
    if any(_denied_inside(each, rules, today) for each in provision.provision):
        return "deny"
    inner = [_of_provision(each, None, rules, today) for each in provision.provision]
    kind = provision.type or base
    if (kind == "permit" or "permit" in inner) and _covers(provision, rules, today):
        return "permit"
    return "deny" if kind == "deny" and _denies(provision, rules, today) else None


def _denied_inside(provision: Provision, rules: ConsentRules, today: date) -> bool:
    """Whether an exception, or one of its own, denies."""
    if provision.type == "deny" and _denies(provision, rules, today):
        return True
    return any(_denied_inside(each, rules, today) for each in provision.provision)


def _covers(provision: Provision, rules: ConsentRules, today: date) -> bool:
    """Whether research on all the data surely lies within its conditions."""
    purposes = frozenset((each.system, each.code) for each in provision.purpose)
    limited = (provision.actor, provision.action, provision.security_label, provision.class_, provision.data)
    if any(limited) or provision.data_period is not None or not _holds(provision.period, today):
        return False
    if purposes and not purposes & _PERMITTED:
        return False
    return not provision.code or any(each.codes & rules.codes for each in provision.code)


def _denies(provision: Provision, rules: ConsentRules, today: date) -> bool:
    """Whether research may lie within its conditions."""
    if not _may_hold(provision.period, today):
        return False
    purposes = [(each.system, each.code) for each in provision.purpose]
    if purposes and all(system == _REASON and (system, code) not in _DENIED for system, code in purposes):
        return False
    told = [each.codes for each in provision.code]
    elsewhere = bool(told) and bool(rules.codes) and all(codes and not codes & rules.codes for codes in told)
    return not elsewhere


def _holds(period: Period, today: date) -> bool:
    """Whether today surely lies in it."""
    begun = period.start is None or period.start.latest <= today
    return begun and (period.end is None or today <= period.end.earliest)


def _may_hold(period: Period, today: date) -> bool:
    """Whether today may lie in it."""
    begun = period.start is None or period.start.earliest <= today
    return begun and (period.end is None or today <= period.end.latest)


def _to_come(consent: Consent, today: date) -> bool:
    """Whether it says that it was given on a later day; by such a mistake it would outlast every denial."""
    return consent.date_time is not None and consent.date_time.earliest > today


def _later(consent: Consent, other: Consent) -> bool:
    """Whether it is surely later than the other one."""
    if consent.date_time is None or other.date_time is None:
        return False
    return consent.date_time.earliest > other.date_time.latest
