"""What an archive answers, held against what was asked: archives ignore the keys that they do not know."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from client_app.data.pacs.dropped import asked
from client_app.data.pacs.meter import Meter
from client_app.data.pacs.source import Query, StudyRef, Wanted
from client_app.data.uid import is_uid
from federation.errors import RunError

_MOST_PER_IDENTIFIER = 20  # studies that share an accession number
_MOST_UNASKED = 1000  # answers to a question that do not belong to it


@dataclass(frozen=True, repr=False)
class Answer:
    """A study as an archive tells of it; empty is what it does not tell."""

    uid: str
    accession: str
    modalities: tuple[str, ...]
    date: str
    description: str
    instances: str

    def ref(self) -> StudyRef:
        """As it is passed on."""
        count = int(self.instances) if self.instances.isdecimal() else None
        return StudyRef(self.uid, self.accession, count)


@dataclass(frozen=True, repr=False)
class Question:
    """One question to an archive; empty is what is not asked.

    Attributes:
        accession: an accession number.
        uid: a Study Instance UID.
        query: or a query.
    """

    accession: str = ""
    uid: str = ""
    query: Query | None = None

    @property
    def keys(self) -> dict[str, str]:
        """The matching keys, by DICOM's keywords; without words of a description, where archives differ."""
        if self.query is None:
            return {"AccessionNumber": self.accession} if self.accession else {"StudyInstanceUID": self.uid}
        days = f"{self.query.since:%Y%m%d}-{self.query.until:%Y%m%d}"
        return {"ModalitiesInStudy": self.query.modality, "StudyDate": days}

    @property
    def at_most(self) -> int:
        """How many studies may match."""
        return self.query.at_most if self.query else _MOST_PER_IDENTIFIER if self.accession else 1

    def asked_for(self, answer: Answer) -> bool:
        """Whether the answer belongs to the question."""
        if self.query is None:
            return answer.accession == self.accession if self.accession else answer.uid == self.uid
        return (
            self.query.modality in answer.modalities
            and f"{self.query.since:%Y%m%d}" <= answer.date <= f"{self.query.until:%Y%m%d}"
            and self.query.description.casefold() in answer.description.casefold()
        )


def questions(wanted: Wanted) -> Iterator[Question]:
    """One for each thing that is wanted."""
    for accession in dict.fromkeys(wanted.accessions):
        yield Question(accession=accession)
    for uid in dict.fromkeys(wanted.studies):
        yield Question(uid=uid)
    if wanted.query:
        yield Question(query=wanted.query)


def found(
    wanted: Wanted, ask: Callable[[Question], Iterable[Answer]], retries: int, meter: Meter
) -> Iterator[StudyRef]:
    """The studies that are wanted, each once. See ``Source.find``.

    Args:
        wanted: what was asked for.
        ask: puts a question to the archive; its answers are read as far as they are needed.
        retries: how often a question is put again that the archive drops.
        meter: counts the answers that are left out.

    Raises:
        RunError: the archive cannot be asked, or more match than may.
    """
    seen: set[str] = set()
    for question in questions(wanted):
        # All answers before the first is passed on: too many are a question that should not have been asked.
        answers = partial(_checked, question, ask, meter)
        for answer in asked(answers, meter.patience(retries)):
            if answer.uid not in seen:
                seen.add(answer.uid)
                yield answer.ref()


def _checked(question: Question, ask: Callable[[Question], Iterable[Answer]], meter: Meter) -> list[Answer]:
    kept: dict[str, Answer] = {}
    unasked, modalities = 0, False
    for answer in ask(question):
        modalities = modalities or bool(answer.modalities)
        if not is_uid(answer.uid) or not question.asked_for(answer):
            unasked += 1
            # Words of a description are looked for here, so that answers without them are no fault.
            if unasked > (_MOST_UNASKED if not _words(question) else 100 * question.at_most):
                raise RunError(
                    f"the archive gives {unasked} studies that were not asked for; does it know the keys "
                    f"{', '.join(question.keys)}?"
                )
            continue
        kept[answer.uid] = answer
        if len(kept) > question.at_most:
            raise RunError(
                f"more than {question.at_most} studies match; narrow the query, or raise its at_most"
                if question.query
                else f"one identifier matches more than {question.at_most} studies, so none is fetched"
            )
    if question.query and unasked and not modalities:
        raise RunError("the archive does not tell the modalities of its studies; give accessions or studies")
    meter.left_out(unasked)
    return list(kept.values())


def _words(question: Question) -> bool:
    return question.query is not None and bool(question.query.description)
