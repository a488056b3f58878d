"""Whether hospitals' audit logs are still what they signed, by the heads that others keep of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.box import SIMPLE_HEAD
from rich.table import Table

from federation.audit_files import audit_lines
from federation.audit_log import AuditEntry, AuditHead, Link, read_chain, require_heads
from federation.errors import AuditError, ConfigError
from server_app.audit_heads import HEADS_FILE, HeadBook

_COORDINATOR = "the coordinator"


@dataclass(frozen=True)
class Verdict:
    """What became of the verification of one hospital's log.

    Attributes:
        site: whose log.
        entries: how many it has; None where they are no chain.
        heads: how many of its heads it was held against.
        problem: which entry is not as it was, and who can prove it; empty if all is well.
    """

    site: str
    entries: int | None
    heads: int
    problem: str = ""


def verify_run(run: Path, exported: Sequence[str] = (), book: Path | None = None) -> list[Verdict]:
    """Verify the logs that lie in a run's folder, or those that hospitals have exported.

    Args:
        run: the run's folder; by default it has the book of heads, and a simulation's logs.
        exported: ``SITE=FOLDER`` of each exported log; if there are any, only these are verified.
        book: the coordinator's book of heads, where it is not the run's.

    Raises:
        AuditError: there is no book, or it is not one.
        ConfigError: an ``exported`` is not ``SITE=FOLDER``.
    """
    path = book or run / HEADS_FILE
    if not path.is_file():
        raise AuditError(f"{path} is not there; give the book of heads that the run was told with heads=PATH")
    held = HeadBook(path)
    if exported:
        return verify_logs(dict(map(_site_and_folder, exported)), held)
    # Each hospital that has ever signed must have its log here: one that is gone was cut back, too.
    sites = {head.site for head in held.known} | {folder.parent.name for folder in run.glob("sites/*/audit")}
    return verify_logs({site: run / "sites" / site / "audit" for site in sites}, held)


def verify_logs(logs: Mapping[str, Path], book: HeadBook) -> list[Verdict]:
    """Verify each site's log against the coordinator's heads and those that the other logs have recorded.

    A head counts as a hospital's if it bears the key that the coordinator knows the hospital by. Of the other
    logs, only those that are chains themselves are asked.

    Args:
        logs: site -> folder of its log.
        book: the coordinator's.
    """
    chains, broken = _read(logs)
    keys = {head.site: head.key for head in book.known}
    holders: dict[AuditHead, set[str]] = defaultdict(set)
    for head in book.heads:
        holders[head].add(_COORDINATOR)
    for witness, chain in chains.items():
        for head in _recorded_heads(link.entry for link in chain):
            # What bears no signature, or another key, proves nothing; anybody could have written it.
            if head.site != witness and head.key == keys.get(head.site) and head.genuine:
                holders[head].add(witness)
    verdicts = []
    for site in sorted(logs):
        evidence = {head: who for head, who in holders.items() if head.site == site}
        if site in broken:
            verdicts.append(Verdict(site, None, 0, broken[site]))
        else:
            verdicts.append(_verdict(site, [link.hash for link in chains[site]], evidence))
    return verdicts


def verdict_table(verdicts: Iterable[Verdict]) -> Table:
    """A row for each site."""
    table = Table(box=SIMPLE_HEAD)
    for name in ("site", "entries", "heads checked", "result"):
        table.add_column(name, overflow="fold")
    for verdict in verdicts:
        whole = "whole" if verdict.heads else "a chain, but nobody holds a head of it"
        entries = "" if verdict.entries is None else str(verdict.entries)
        table.add_row(verdict.site, entries, str(verdict.heads), verdict.problem or whole)
    return table


def _verdict(site: str, hashes: Sequence[str], evidence: Mapping[AuditHead, set[str]]) -> Verdict:
    heads = sorted(evidence, key=lambda head: head.sequence)
    for head in heads:
        try:
            require_heads(hashes, [head])
        except AuditError as error:
            proof = f"{error}; {' and '.join(sorted(evidence[head]))} can prove it"
            return Verdict(site, len(hashes), len(heads), proof)
    return Verdict(site, len(hashes), len(heads))


def _read(logs: Mapping[str, Path]) -> tuple[dict[str, list[Link]], dict[str, str]]:
    """The logs that are chains, and of the others what is wrong with them."""
    chains, broken = {}, {}
    for site, folder in logs.items():
        try:
            chains[site] = read_chain(audit_lines(folder))
        except AuditError as error:
            broken[site] = f"{error}; the log as it lies there proves it"
    return chains, broken


def _recorded_heads(entries: Iterable[AuditEntry]) -> Iterator[AuditHead]:
    """The heads of peers that a hospital has written into its own log."""
    for entry in entries:
        if entry.event == "heads":
            for fact in entry.facts.values():
                try:
                    yield AuditHead.model_validate_json(str(fact))
                except ValidationError:
                    continue


def _site_and_folder(exported: str) -> tuple[str, Path]:
    site, equals, folder = exported.partition("=")
    if not (site and equals and folder):
        raise ConfigError(f"--log {exported} is not SITE=FOLDER")
    return site, Path(folder)
