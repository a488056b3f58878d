"""One study: its files read, de-identified, and ready to be put together."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydicom import Dataset

from client_app.data.deidentify.options import Options
from client_app.data.deidentify.profile import deidentify
from client_app.data.dicom.door import read_instance
from client_app.data.dicom.series import volume
from client_app.data.fhir.judge import Case
from client_app.data.ingest.shelf import Made
from client_app.data.keys import Pseudonyms, comparable
from client_app.data.refusal import Refused
from client_app.data.volume import Volume


class ReadStudy(NamedTuple):
    """What is in a study's files.

    Attributes:
        series: by pseudonym.
        refused: how many files were not taken, by rule.
    """

    series: Mapping[str, Made]
    refused: Mapping[str, int]


def read_study(case: Case, files: Iterable[Path], pseudonyms: Pseudonyms, options: Options) -> ReadStudy:
    """The series of a study.

    Where a file of a series is refused the whole series is, since it would lack slices; where it cannot be
    told of which series a file is, the study is.

    Args:
        case: what the record says of the study.
        files: that the archive has given for it.
        pseudonyms: of the site.
        options: what de-identification lets through.
    """
    refused: Counter[str] = Counter()
    series: dict[str, list[Dataset]] = {}
    incomplete: set[str] = set()
    for file in files:
        of = ""
        try:
            dataset = read_instance(file)
            of = pseudonyms.uid(dataset.SeriesInstanceUID)
            _belongs(case, dataset)
            series.setdefault(of, []).append(deidentify(dataset, pseudonyms, options))
        except Refused as reason:
            refused[reason.rule] += 1
            incomplete.add(of)
    whole = {of: not {of, ""} & incomplete for of in series}
    return ReadStudy(
        {of: partial(_volume, instances, whole=whole[of]) for of, instances in series.items()}, refused
    )


def _volume(instances: list[Dataset], *, whole: bool) -> Volume:
    if not whole:
        raise Refused("incomplete-series", "a file of the series was refused")
    return volume(instances)


def _belongs(case: Case, dataset: Dataset) -> None:
    """Refuse images of somebody else: numbers of studies are mistyped, and used twice."""
    if comparable(str(dataset.get("PatientID", ""))) != comparable(case.patient):
        raise Refused("other-patient", "the images are of another patient than the record says")
    if str(dataset.get("StudyInstanceUID", "")) != case.study_uid:
        raise Refused("other-study", "the images are of another study than the record says")
