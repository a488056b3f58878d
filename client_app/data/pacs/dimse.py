"""An archive that speaks DIMSE: C-FIND to find, C-GET or C-MOVE to fetch (PS3.4, annex C, study root)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Self

from pydicom import Dataset
from pynetdicom import build_context, build_role
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from client_app.data.pacs.answers import Answer, Question, found
from client_app.data.pacs.dropped import DroppedError, asked
from client_app.data.pacs.entity import Connections, entity, undisturbed
from client_app.data.pacs.header import text
from client_app.data.pacs.inbox import Inbox
from client_app.data.pacs.intake import Receiver, handlers
from client_app.data.pacs.listing import Ask, Listed
from client_app.data.pacs.meter import Meter
from client_app.data.pacs.pull import pull
from client_app.data.pacs.settings import DimseSettings
from client_app.data.pacs.source import StudyRef, Wanted, checked_uid
from client_app.data.pacs.status import PENDING, checked
from client_app.data.pacs.syntaxes import ECHO, FIND, GET, MOVE, SOP_CLASSES, TRANSFER_SYNTAXES
from client_app.data.pacs.tls import client_context
from client_app.data.patience import GREETING_SECONDS
from federation.errors import RunError

_MOST_CONTEXTS = 127  # beside that of C-GET; an association has 128 (PS3.8, section 9.3.2.2)
_TRANSIENT = 2  # of a rejected association (PS3.8, table 9-21)


class DimseSource:
    """See ``Source``.

    Raises:
        ConfigError: a certificate cannot be used.
    """

    def __init__(self, settings: DimseSettings, meter: Meter) -> None:
        self._settings, self._meter = settings, meter
        self._entity = entity(settings)
        self._tls = (client_context(settings.tls), settings.host) if settings.tls else None
        self._receiver: Receiver | None = None

    def __enter__(self) -> Self:
        if self._settings.retrieve == "move":
            self._receiver = Receiver(self._settings, self._meter)
        return self

    def __exit__(self, *_: object) -> None:
        if self._receiver:
            self._receiver.close()
        self._entity.shutdown()

    def greet(self) -> str:
        """See ``Source``; that it answers C-ECHO does not say that it lets us ask and fetch."""
        seconds = min(GREETING_SECONDS, self._settings.timeout)
        hasty = DimseSource(self._settings.model_copy(update={"timeout": seconds}), self._meter)
        asked(hasty._greeting, self._meter.patience(0))
        return "C-ECHO"

    def find(self, wanted: Wanted) -> Iterator[StudyRef]:
        """See ``Source``."""
        yield from found(wanted, self._answers, self._settings.retries, self._meter)

    def fetch(self, ref: StudyRef, to: Path) -> Iterator[Path]:
        """See ``Source``."""
        yield from pull(ref, to, self, self._settings, self._meter)

    def listed(self, study: str) -> list[Listed]:
        """See ``Transport``."""
        files = []
        with self._association([build_context(FIND)]) as association:
            of_study = _keys("SERIES", StudyInstanceUID=study, SeriesInstanceUID="")
            for series in [text(one, "SeriesInstanceUID") for one in _matches(association, of_study)]:
                of_series = _keys(
                    "IMAGE",
                    StudyInstanceUID=study,
                    SeriesInstanceUID=checked_uid(series),
                    SOPInstanceUID="",
                    SOPClassUID="",
                )
                files += [
                    Listed(text(one, "SOPInstanceUID"), series, text(one, "SOPClassUID"))
                    for one in _matches(association, of_series)
                ]
        return files

    def retrieve(self, ask: Ask, inbox: Inbox) -> None:
        """See ``Transport``."""
        if self._receiver:
            with self._receiver.into(inbox), self._association([build_context(MOVE)]) as association:
                _drain(association.send_c_move, _asked(ask), self._settings.own_title, MOVE)
            return
        for contexts in _in_turn(sorted({file.sop_class for file in ask.files})):
            if not inbox.missing:
                return
            roles = [
                build_role(name, scp_role=True) for name in {str(each.abstract_syntax) for each in contexts}
            ]
            into = handlers(self._settings, self._meter, lambda: nullcontext(inbox))
            with self._association([build_context(GET), *contexts], roles, into) as association:
                _drain(association.send_c_get, _asked(ask), GET)

    def _greeting(self) -> None:
        needed = {FIND: "C-FIND"} | (
            {MOVE: "C-MOVE"} if self._settings.retrieve == "move" else {GET: "C-GET"}
        )
        with self._association([build_context(name) for name in (ECHO, *needed)]) as association:
            offered = {str(each.abstract_syntax) for each in association.accepted_contexts}
            lacking = [name for service, name in needed.items() if service not in offered]
            if lacking:
                raise RunError(
                    f"the archive does not offer {' and '.join(lacking)} to the AE title "
                    f"{self._settings.own_title!r}; have it allow us this, or try the other of retrieve=get "
                    "and move"
                )
            if ECHO in offered:
                checked(association.send_c_echo())

    def _answers(self, question: Question) -> Iterator[Answer]:
        keys = dict.fromkeys(
            (
                "StudyInstanceUID",
                "AccessionNumber",
                "ModalitiesInStudy",
                "StudyDate",
                "StudyDescription",
                "NumberOfStudyRelatedInstances",
            ),
            "",
        )
        with self._association([build_context(FIND)]) as association:
            for study in _matches(association, _keys("STUDY", **(keys | question.keys))):
                yield Answer(
                    uid=text(study, "StudyInstanceUID"),
                    accession=text(study, "AccessionNumber"),
                    modalities=tuple(text(study, "ModalitiesInStudy").replace("\\", " ").split()),
                    date=text(study, "StudyDate"),
                    description=text(study, "StudyDescription"),
                    instances=text(study, "NumberOfStudyRelatedInstances"),
                )

    @contextmanager
    def _association(
        self,
        contexts: list[PresentationContext],
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
        into: Sequence[EventHandlerType] | None = None,
    ) -> Iterator[Association]:
        """An association that is released, or aborted where it is left early.

        Raises:
            DroppedError: nobody answers, or is busy.
            RunError: the archive does not want us.
        """
        where = f"{self._settings.host}:{self._settings.port}"
        try:
            made = self._entity.associate(
                self._settings.host,
                self._settings.port,
                contexts=contexts,
                ae_title=self._settings.title,
                ext_neg=list(roles),
                evt_handlers=list(Connections(self._settings).handlers if into is None else into),
                tls_args=self._tls,
            )
        except OSError as error:
            raise DroppedError(f"{where}: {error.strerror}") from None
        if made.is_rejected and getattr(made.acceptor.primitive, "result", None) != _TRANSIENT:
            raise RunError(
                f"{where} rejects us; does it know the AE title {self._settings.own_title!r}, and has it "
                f"{self._settings.title!r} itself?"
            )
        if not made.is_established:
            # Some close the connection so soon that their rejection is not read.
            raise DroppedError(
                f"{where} does not answer, or not to the AE title {self._settings.own_title!r}"
            )
        try:
            with undisturbed(made):
                yield made
            made.release()
        finally:
            if made.is_established:
                made.abort()


def _keys(level: str, **keys: str) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return dataset


def _asked(ask: Ask) -> Dataset:
    dataset = _keys(ask.level, StudyInstanceUID=ask.study)
    if ask.series:
        dataset.SeriesInstanceUID = ask.series
    if ask.level == "IMAGE":
        dataset.SOPInstanceUID = [file.uid for file in ask.files]
    return dataset


def _matches(association: Association, keys: Dataset) -> Iterator[Dataset]:
    try:
        for status, identifier in association.send_c_find(keys, FIND):
            if checked(status) in PENDING:
                if identifier is None:
                    raise DroppedError("one of its answers cannot be read")
                yield identifier
    except ValueError:
        raise RunError(
            "the archive does not offer C-FIND by study; give a folder of exported files"
        ) from None


def _drain(send: Callable[..., Iterator[tuple[Dataset, Dataset | None]]], *arguments: object) -> None:
    """Have it all sent; how many files did not come is what the inbox knows better than the archive."""
    try:
        for status, _ in send(*arguments):
            checked(status)
    except ValueError:
        raise RunError(
            "the archive does not offer this way to fetch; try the other of retrieve=get and move"
        ) from None


def _in_turn(sop_classes: list[str]) -> Iterator[list[PresentationContext]]:
    """Contexts for as many associations as it takes.

    One for each kind and encoding, so that the archive sends files as they are stored, and need not encode
    them anew; where it does not say of what kind they are, for all that are taken.
    """
    kinds = SOP_CLASSES if "" in sop_classes else sop_classes
    contexts = [build_context(kind, syntax) for kind in kinds for syntax in TRANSFER_SYNTAXES]
    for first in range(0, len(contexts), _MOST_CONTEXTS):
        yield contexts[first : first + _MOST_CONTEXTS]
