"""``privacy-audit.html`` and ``privacy-audit.json``: one page in one file, and its data."""

import base64
import json
from pathlib import Path

from client_app.audit import figures, words
from client_app.audit.privacy_audit import Audited
from client_app.audit.template import PAGE
from federation.files import write_whole
from federation.page import template_of


def write_audit(audited: Audited, folder: Path) -> Path:
    """Write both files, each whole or not at all; returns the page.

    Raises:
        StorageError: the disk did not take them.
    """
    page = folder / "privacy-audit.html"
    record = {"headline": words.headline(audited.record), **audited.record.model_dump(mode="json")}
    write_whole(folder / "privacy-audit.json", json.dumps(record, indent=2).encode())
    write_whole(page, render(audited).encode())
    return page


def render(audited: Audited) -> str:
    """The page as HTML."""
    audit = audited.record
    attack = None if audit.membership is None else audit.membership.attacks["calibrated"]
    inversion = audit.inversion
    return template_of(PAGE).render(
        audit=audit,
        rehearsal=audit.rehearsal,
        membership=audit.membership,
        inversion=inversion,
        attack=attack,
        headline=words.headline(audit),
        explanation=words.explanation(audit),
        facts=words.facts(audit),
        notes=words.notes(audit),
        questions=words.QUESTIONS,
        pictures=_pictures(audited),
        membership_in_words=words.membership_in_words(attack) if attack else "",
        inversion_png=base64.b64encode(audited.pictures or b"").decode(),
        inversion_alt="The original picture beside those that were rebuilt.",
        inversion_caption=words.inversion_caption(inversion) if inversion else "",
        inversion_in_words=words.inversion_in_words(inversion, audit.fewest_in_sum) if inversion else "",
        promise=words.promise(audit),
        limits=words.limits(audit),
    )


def _pictures(audited: Audited) -> dict[str, str]:
    audit = audited.record
    drawn = {}
    if audit.rehearsal is not None:
        drawn["claimed_and_proved"] = figures.claimed_and_proved(audit.rehearsal.game)
        drawn["contributions"] = figures.contributions(audit.rehearsal.contributions)
    if audit.membership is not None:
        drawn["roc"] = figures.membership_roc(audit.membership, audit.epsilon, audit.delta)
    return drawn
