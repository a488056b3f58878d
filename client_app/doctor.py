"""Whether a hospital's installation is as it should be: one look at each thing, and what to do about it.

Nothing is made or changed. A look that fails itself is a problem of its own and hides no other. Of what goes
wrong with data, and of errors that are not ours, only the kind is told, since their text may name patients.
"""

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil

from client_app.books.audit import log_findings, log_folder, read_log
from client_app.books.findings import Finding, State
from client_app.books.ledger import ledger_file, ledger_findings
from client_app.books.statement import statement_of
from client_app.books.told import told
from client_app.custodian.keys import KEY_FILES, SiteKeys, key_file
from client_app.custodian.ledger.books import read_books
from client_app.custodian.pinned_roster import PinnedRoster
from client_app.custodian.policy import size_fits
from client_app.custodian.server import MOST_PATH
from client_app.custodian.witness import CLOCK_MAY_GO_BACK
from client_app.data.cohort import load_cohort
from client_app.site import HospitalConfig, hospital
from federation.audit_log import Fact
from federation.errors import WardroundError
from federation.study import TaskSpec
from federation.tasks import load_task, pool

_GIB = 2**30
_LEAST_DISK, _LITTLE_DISK = 2 * _GIB, 10 * _GIB
_YEARS = range(2026, 2100)
_AT_FIRST = "made when the custodian first starts"

Look = Callable[[HospitalConfig], Iterable[Finding]]


def examine(file: Path) -> list[Finding]:
    """Look at everything that the hospital's ``site.yaml`` leads to; if it cannot be read, that is all."""
    try:
        config = hospital(file)
    except WardroundError as error:
        return [Finding("site.yaml", "problem", str(error), "correct the file; conf/site/ has an example")]
    findings = [Finding("site.yaml", "ok", f"{file} is that of {config.name}")]
    for name, look in LOOKS.items():
        try:
            findings += look(config)
        except WardroundError as error:
            found, _, remedy = str(error).partition("; ")
            findings.append(Finding(name, "problem", found, remedy))
        except Exception as error:
            found = f"could not be looked at: {type(error).__name__}"
            findings.append(Finding(name, "problem", found, "run it as the user that the custodian runs as"))
    return findings


def data(config: HospitalConfig) -> Iterator[Finding]:
    """Whether each allowed task can read its patients, and there are enough of them."""
    folder = config.data.folder
    if not folder.is_dir():
        yield Finding(
            "data", "problem", f"data.folder={folder} is no folder", "mount it, or correct site.yaml"
        )
        return
    for package in config.policy.tasks:
        # What studies have asked for says how the task is read; before the first, what they have to ask for.
        found = [_patients(config, package, spec) for spec in _asked(config, package)]
        yield from dict.fromkeys(found)


def _patients(config: HospitalConfig, package: str, spec: TaskSpec | None) -> Finding:
    name, least = f"data of {package}", config.policy.minimum_patients
    try:
        train, held_out = _sizes(config, package, spec)
    except Exception as error:  # whose text may name a file or a row, and so a patient
        remedy = (
            "see whether data and policy.task_options are right; the custodian's log says why when a study "
            "asks for them"
        )
        return Finding(name, "problem", f"cannot be read: {type(error).__name__}", remedy)
    if train < least:
        found = f"readable, with fewer than the {least} patients that the policy asks for"
        return Finding(name, "problem", found, "see data in site.yaml, or lower policy.minimum_patients")
    if not size_fits(train, config.declared_patients):
        found = f"declared_patients={config.declared_patients} is off by more than a factor of two"
        return Finding(name, "problem", found, "set declared_patients anew in site.yaml")
    if config.policy.metrics and held_out < least:
        found = f"readable; fewer than {least} are held out, so a study can train but not evaluate here"
        return Finding(name, "warning", found, "hold more out, or lower policy.minimum_patients")
    return Finding(name, "ok", f"readable, with at least {least} patients; declared_patients fits")


def _asked(config: HospitalConfig, package: str) -> list[TaskSpec | None]:
    """How known studies read the task's data, each way once."""
    try:
        proposals = read_books(ledger_file(config)).proposals
    except WardroundError:  # which is for another look to tell
        proposals = ()
    tasks = [each.study.task for each in proposals if each.state == "approved"]
    ways = {task.model_dump_json(): task for task in tasks if task.package == package}
    return [*ways.values()] or [None]


def _sizes(config: HospitalConfig, package: str, spec: TaskSpec | None) -> tuple[int, int]:
    """How many patients train, and how many are held out."""
    source = config.data
    if spec is not None:
        cohort = load_cohort(source, spec)
        return cohort.train.patient_count, cohort.test.patient_count
    asked = config.policy.task_options
    options = {} if asked == "any" else {name: values[0] for name, values in asked.items() if values}
    task = load_task(package, options, source.folder)
    cohorts = [task.cohort(part, source.of) for part in source.parts]
    train, held_out = pool([each.train for each in cohorts]), pool([each.test for each in cohorts])
    return train.patient_count, held_out.patient_count


def keys(config: HospitalConfig) -> Iterator[Finding]:
    """Whether the keys are there, and for nobody else to read."""
    folder = config.service.folder / "keys"
    missing = [name for name in KEY_FILES if not key_file(config.service.folder, name).exists()]
    if len(missing) == len(KEY_FILES) and not ledger_file(config).exists():
        yield Finding("keys", "ok", _AT_FIRST)
        return
    mode = stat.S_IMODE(folder.stat().st_mode) if folder.exists() else 0o700
    if missing:
        remedy = "restore them; new ones would not find the ledger's patients"
        yield Finding("keys", "problem", f"{', '.join(missing)} missing in {folder}", remedy)
    elif mode & 0o077:
        yield Finding("keys", "problem", f"{folder} has mode {mode:04o}", f"chmod 700 {folder}")
    else:
        SiteKeys.found_in(config.service.folder)
        yield Finding("keys", "ok", f"{', '.join(KEY_FILES)}: for their owner alone")


def disk(config: HospitalConfig) -> Iterator[Finding]:
    """Whether there is room for ledger, audit log and answers."""
    there = _nearest(config.service.folder)
    free = shutil.disk_usage(there).free
    state: State = "problem" if free < _LEAST_DISK else "warning" if free < _LITTLE_DISK else "ok"
    remedy = "" if state == "ok" else f"free space there, at least {_LITTLE_DISK // _GIB} GiB"
    yield Finding("disk", state, f"{free / _GIB:.1f} GiB free at {there}", remedy)


def clock(config: HospitalConfig) -> Iterator[Finding]:
    """Whether the clock can be right."""
    now = datetime.now(UTC)
    times = [link.entry.time for link in read_log(log_folder(config))] if log_folder(config).is_dir() else []
    if times and now < max(times) - CLOCK_MAY_GO_BACK:
        found = f"{now:%Y-%m-%d %H:%M} UTC, before the audit log's {max(times):%Y-%m-%d %H:%M}"
        yield Finding("clock", "problem", found, "set it right; until then every study is refused")
    elif now.year not in _YEARS:
        yield Finding("clock", "problem", f"it is the year {now.year}", "set it right")
    else:
        yield Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC")


def ledger(config: HospitalConfig) -> Iterator[Finding]:
    """As ``ledger verify``."""
    if not ledger_file(config).exists() and not log_folder(config).exists():
        yield Finding("ledger", "ok", _AT_FIRST)
    else:
        yield from _worst("ledger", ledger_findings(config))


def audit_log(config: HospitalConfig) -> Iterator[Finding]:
    """As ``audit verify``."""
    if not ledger_file(config).exists() and not log_folder(config).exists():
        yield Finding("audit log", "ok", _AT_FIRST)
    else:
        yield from _worst("audit log", log_findings(config))


def roster(config: HospitalConfig) -> Iterator[Finding]:
    """Whether a roster is pinned, the last one that was, with this hospital's own key."""
    told = _told_roster(config)
    pinned = PinnedRoster(config.service.folder).read()
    if told is not None and (pinned is None or pinned.hash != told["roster"]):
        lies = "none" if pinned is None else f"version {pinned.version} ({pinned.hash[:12]})"
        found = f"{lies} lies there, and the audit log's last is version {told['version']}"
        found += f" ({str(told['roster'])[:12]})"
        yield Finding("roster", "problem", found, "restore the newest roster.json, or pin the roster again")
    elif pinned is None:
        yield _without_roster(config)
    elif pinned.keys.get(config.name) != SiteKeys.found_in(config.service.folder).public:
        found = f"version {pinned.version} does not have this hospital's own key"
        remedy = "give the coordinator what wardround-site roster key writes, and pin the roster that comes"
        yield Finding("roster", "problem", found, remedy)
    else:
        found = f"version {pinned.version}, {len(pinned.keys)} hospitals: {pinned.fingerprint}"
        yield Finding("roster", "ok", found)


def _without_roster(config: HospitalConfig) -> Finding:
    found, remedy = (
        "none is pinned, so studies with secure sums are refused",
        "wardround-site roster pin ROSTER",
    )
    if "plain" in config.policy.aggregation:
        return Finding("roster", "ok", found, f"none, unless there are to be any: {remedy}")
    return Finding("roster", "warning", f"{found}, and policy.aggregation allows no others", remedy)


def _told_roster(config: HospitalConfig) -> dict[str, Fact] | None:
    """What the audit log tells of the last roster that was pinned."""
    try:
        entries = [link.entry for link in read_log(log_folder(config))] if log_folder(config).is_dir() else []
    except WardroundError:  # which is for another look to tell
        return None
    return next((entry.facts for entry in reversed(entries) if entry.event == "pinned"), None)


def _worst(name: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """What is wrong, or the first of what is right."""
    looked = list(findings)
    wrong = [each for each in looked if each.state != "ok"]
    for each in wrong or looked[:1]:
        yield Finding(name, each.state, each.found, each.remedy)


def budget(config: HospitalConfig) -> Iterator[Finding]:
    """Whether patients who were in studies have room for another one as large as the policy allows."""
    if not ledger_file(config).exists():
        yield Finding("budget", "ok", "nobody has given anything yet")
        return
    patients = statement_of(config, read_books(ledger_file(config))).patients
    least = config.policy.minimum_patients
    if not patients.count:
        yield Finding("budget", "ok", "nobody has given anything yet")
    elif patients.room < least:
        found = f"{told(patients.room, least)} of those who were in studies have room for another large one"
        remedy = "smaller studies, patients who are new, or a policy.lifetime that people here agree on"
        yield Finding("budget", "warning", found, remedy)
    else:
        share = f"about {10 * round(10 * patients.room / patients.count)} %"
        large = f"a study of ε {config.policy.maximum_epsilon:g}"
        yield Finding("budget", "ok", f"{share} of those who were in studies have room for {large}")


def sockets(config: HospitalConfig) -> Iterator[Finding]:
    """Whether both sockets can be had, are apart and kept from others; and who answers."""
    relay, admin = config.service.relay, config.service.admin
    for name, path in (("relay socket", relay), ("admin socket", admin)):
        yield _socket(name, path)
    if relay.parent.resolve() == admin.parent.resolve():
        found = f"{relay.parent} and {admin.parent} are one folder"
        yield Finding(
            "sockets", "problem", found, "the relay must not see the admin socket: take another one"
        )


def _socket(name: str, path: Path) -> Finding:
    length = len(os.fsencode(path))
    if length > MOST_PATH:
        found = f"{path} has {length} bytes; Linux takes {MOST_PATH}"
        return Finding(name, "problem", found, "choose a shorter path")
    if not path.parent.exists():
        return Finding(name, "warning", f"{path.parent} is not there", "start the custodian, which makes it")
    mode = stat.S_IMODE(path.parent.stat().st_mode)
    if mode & 0o007:
        return Finding(name, "problem", f"{path.parent} has mode {mode:04o}", f"chmod 2750 {path.parent}")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        answers = probe.connect_ex(str(path)) == 0
    if answers:
        return Finding(name, "ok", f"a custodian answers at {path}")
    return Finding(name, "warning", f"nobody answers at {path}", "start the custodian")


def resources(config: HospitalConfig) -> Iterator[Finding]:
    """Whether the machine has what training takes."""
    cores, threads = len(os.sched_getaffinity(0)), os.environ.get("OMP_NUM_THREADS", "")
    free, asked = psutil.virtual_memory().available / 2**20, config.resources.memory_mib
    said = f"{cores} cores, OMP_NUM_THREADS={threads or 'not set'}, {free:,.0f} MiB of memory free"
    if threads.isdigit() and int(threads) > cores:
        yield Finding("resources", "warning", said, f"set OMP_NUM_THREADS to {cores} at most")
    elif free < 2 * asked:
        remedy = f"free memory, or lower resources.memory_mib={asked}: twice as much is taken at times"
        yield Finding("resources", "warning", said, remedy)
    else:
        yield Finding("resources", "ok", said)


def _nearest(folder: Path) -> Path:
    """``folder``, or the nearest one above it that is there already."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())


LOOKS: dict[str, Look] = {
    "data": data,
    "keys": keys,
    "disk": disk,
    "clock": clock,
    "ledger": ledger,
    "audit log": audit_log,
    "roster": roster,
    "budget": budget,
    "sockets": sockets,
    "resources": resources,
}
