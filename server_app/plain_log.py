"""Progress as lines in the coordinator's log, for people and for programs, and the report at the end."""

import logging
from pathlib import Path

from federation.against import in_words, travel
from federation.command_line import printable
from federation.messages import Parameters
from federation.study import Study
from server_app.listeners import Listener
from server_app.membership import Membership
from server_app.progress import Began, Ended, Event, line_of
from server_app.record import RoundLine, Summary, absences
from server_app.report import write_report

log = logging.getLogger("flwr")


class PlainLog(Listener):
    """The listener of a run that nobody watches."""

    _folder = Path()

    def started(self, study: Study, folder: Path, membership: Membership, initial: Parameters) -> None:  # noqa: ARG002
        """Say who takes part."""
        self._folder = folder
        log.info("study %s (%s) in %s", study.name, study.id[:12], folder)
        log.info("hospitals: %s", ", ".join(membership.members))
        log.info("updates travel %s", travel(study))
        for site, reason in membership.absent.items():
            log.warning("without %s: %s", printable(site), printable(reason))
        _tell(
            Began(
                run=folder.name,
                study=study.name,
                study_id=study.id,
                rounds=study.rounds,
                hospitals=tuple(membership.members),
                absent=absences(membership.absent),
            )
        )

    def round_finished(self, line: RoundLine, parameters: Parameters) -> None:  # noqa: ARG002
        """Say who took part in the round and who did not, or why nothing came of it."""
        if line.lost:
            log.warning(
                "round %d came to nothing: %s (%.1f s)", line.round, printable(line.lost), line.seconds
            )
        else:
            log.info("round %d: %s (%.1f s)", line.round, ", ".join(line.participants), line.seconds)
        for absence in line.absent:
            site, reason = printable(absence.site), printable(absence.reason)
            log.warning("round %d without %s: %s", line.round, site, reason)
        _tell(line)

    def finished(self, summary: Summary, parameters: Parameters | None) -> None:  # noqa: ARG002
        """Say what was promised against whom, and write the report."""
        log.info("%s: %s %s", summary.status, summary.model_version, printable(summary.reason))
        if summary.privacy.guarantees:
            log.info("promised: %s", in_words(summary.privacy.guarantees))
        if self._folder != Path():
            log.info("report: %s", write_report(self._folder))
        _tell(Ended(status=summary.status, reason=summary.reason, model_version=summary.model_version))


def _tell(event: Event) -> None:
    log.info("%s", line_of(event))
