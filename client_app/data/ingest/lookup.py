"""What the store calls the hospital's patients, for whoever may read its key; nothing is made or written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from client_app.data.ingest.settings import IngestSettings
from client_app.data.keys import Pseudonyms
from client_app.data.store.people import People, people_of
from federation.errors import DataError
from federation.site_store import has_store

Place = Literal["in the store", "taken out of the store", "never in the store"]


@dataclass(frozen=True, repr=False)
class Known:
    """A patient as the store knows them.

    Attributes:
        pseudonym: 16 hex digits.
        place: whether the patient has images in the store.
    """

    pseudonym: str
    place: Place


def known_as(settings: IngestSettings, numbers: Sequence[str]) -> tuple[Known, ...]:
    """Each of the hospital's ``numbers`` as its store knows it.

    Raises:
        DataError: there is no store, or its key of pseudonyms is missing, or is another one.
        StorageError: the store cannot be read at this moment.
    """
    people = people_of(settings.store)
    pseudonyms = _pseudonyms(settings, people)
    found = [pseudonyms.patient(number) for number in numbers]
    return tuple(Known(each, _place(people, each)) for each in found)


def stored(settings: IngestSettings) -> Callable[[str], bool]:
    """Tells of a number whether the patient is or was in the store; of none where there is no store yet.

    Raises:
        DataError: the store's key of pseudonyms is missing, or is another one.
        StorageError: the store cannot be read at this moment.
    """
    if not has_store(settings.store):
        return lambda _: False
    people = people_of(settings.store)
    pseudonyms, everybody = _pseudonyms(settings, people), people.now | people.gone
    return lambda number: pseudonyms.patient(number) in everybody


def _pseudonyms(settings: IngestSettings, people: People) -> Pseudonyms:
    """Those by which the store was filled, and no others."""
    pseudonyms = Pseudonyms.found_at(settings.key)
    if people.owner not in (None, pseudonyms.owner):
        raise DataError(
            f"{settings.key} is not the key with which the store {settings.store} was filled, so by it each "
            "patient is another; restore that key"
        )
    return pseudonyms


def _place(people: People, pseudonym: str) -> Place:
    if pseudonym in people.now:
        return "in the store"
    return "taken out of the store" if pseudonym in people.gone else "never in the store"
