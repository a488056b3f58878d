"""What must hold of a run whatever has happened to its federation."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hospitals import Hospitals
from federation.audit_files import audit_lines
from federation.audit_log import AuditEntry, read_chain
from federation.errors import WardroundError
from federation.models import build_network, layout_of
from federation.study import Study
from server_app.averaging import average_of
from server_app.registry import Registry

Line = dict[str, Any]


def broken(hospitals: Hospitals, run: int) -> list[str]:
    """What does not hold of a run that has completed; nothing, if all does.

    No round counts twice; the released model is that of the rounds on record; whoever is not in a round is
    named with why; no hospital was charged twice for a round, or not at all for one that it was in, and the
    coordinator knows of no less than was charged; ledgers and audit logs are whole.
    """
    folder = hospitals.run_folder(run)
    study = Study.model_validate_json((folder / "study.json").read_bytes())
    lines, summary = hospitals.rounds(run), hospitals.summary(run)
    found = [*of_record(folder, study, lines)]
    if summary.get("status") != "completed":
        found.append(f"the run has not completed: {summary.get('reason', 'no summary.json')}")
        return found
    for name in hospitals.sites:
        try:
            found += _of_hospital(hospitals, name, study, lines, summary["sites"].get(name))
        except WardroundError as error:
            found.append(f"{name}: {error}")
    return found


def of_record(folder: Path, study: Study, lines: list[Line]) -> Iterator[str]:
    """What does not hold of a run's own folder."""
    numbers = [line["round"] for line in lines]
    if numbers != list(range(1, study.rounds + 1)):
        yield f"rounds on record: {numbers}, and the study has {study.rounds}"
        return
    registry = Registry(folder, study, layout_of(build_network(study.model, study.task)))
    average, before = average_of(study), ""
    for line in lines:
        number = line["round"]
        yield from _of_line(study, line, before)
        before = line["model_sha256"]
        file = folder / f"models/round-{number:03d}.safetensors"
        if hashlib.sha256(file.read_bytes()).hexdigest() != before:
            yield f"round {number}: its model is not the one on record"
        average.add(number, registry.read(number))
    if not np.array_equal(average.value, registry.read(None)):
        yield "the released model is not that of the rounds on record"


def _of_line(study: Study, line: Line, before: str) -> Iterator[str]:
    number, absent = line["round"], {each["site"]: each["reason"] for each in line["absent"]}
    if line["lost"]:
        if line["participants"] or (before and line["model_sha256"] != before):
            yield f"round {number} is lost, and has participants or another model"
    elif len(line["participants"]) < study.fewest_hospitals:
        yield f"round {number}: a sum over {line['participants']}"
    else:
        unsaid = [
            name for name in study.participants if name not in line["participants"] and not absent.get(name)
        ]
        if unsaid:
            yield f"round {number} does not say why {unsaid} took no part"


def _of_hospital(
    hospitals: Hospitals, name: str, study: Study, lines: list[Line], summary: Line | None
) -> Iterator[str]:
    hospitals.at_site(name, "ledger", "verify")
    hospitals.at_site(name, "audit", "verify")
    export = hospitals.folder / "export.json"
    export.unlink(missing_ok=True)
    hospitals.at_site(name, "ledger", "export", "--to", export)
    charges = [each for each in json.loads(export.read_text())["charges"] if each["study"] == study.id]
    log = read_chain(audit_lines(hospitals.site(name) / "custodian/audit"))
    entries = [entry for entry, _ in log if entry.study == study.id]
    for problem in of_charges(study, name, charges, entries, lines):
        yield f"{name}: {problem}"
    charged = sum(each["steps"] for each in charges if each["part"] == "train")
    known = 0 if summary is None else summary["steps"]
    if charged > known:
        yield f"{name}: {charged} steps are charged, and the run's record knows of {known}"


def of_charges(
    study: Study, name: str, charges: list[Line], entries: Iterable[AuditEntry], lines: list[Line]
) -> Iterator[str]:
    """What does not hold of a hospital's charges beside its audit log and the run's record."""
    times = Counter((each["part"], each["round"]) for each in charges)
    yield from (f"{part} round {number} is charged twice" for (part, number), n in times.items() if n > 1)
    noted = Counter(entry.facts["charge"] for entry in entries if entry.event == "reserved")
    # A charge that died before its entry was written has left nothing, and stays charged.
    left = {entry.facts["charge"] for entry in entries if entry.event == "released"}
    numbers = {each["number"] for each in charges}
    if lost := (noted.keys() | left) - numbers:
        yield f"the ledger has lost the charges {sorted(lost)}, which the audit log has"
    if twice := [charge for charge, n in noted.items() if n > 1]:
        yield f"the audit log has the charges {twice} twice"
    for line in lines:
        if name in line["participants"] and ("train", line["round"]) not in times:
            yield f"took part in round {line['round']} and was not charged"
    wrong = [
        each["number"]
        for each in charges
        if each["part"] == "train" and each["steps"] != study.training.steps
    ]
    if wrong:
        yield f"the charges {wrong} are not of {study.training.steps} steps"
