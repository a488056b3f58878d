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
from client_app.data.refusal import MOST_FAULTS, Refused, enough_memory
from client_app.data.volume import Volume


class ReadStudy(NamedTuple):
    """What is in a study's files.

    Attributes:
        series: by pseudonym.
        refused: how many files were not taken, by rule.
        failed: how many could not be looked at this time, by rule; their series are not among ``series``.
    """

    series: Mapping[str, Made]
    refused: Mapping[str, int]
    failed: Mapping[str, int]


def read_study(case: Case, files: Iterable[Path], pseudonyms: Pseudonyms, options: Options) -> ReadStudy:
    """The series of a study.

    Where a file of a series is refused the whole series is, since it would lack slices; where it cannot be
    told of which series a file is, the study is. Likewise where one cannot be looked at this time: then the
    rest of its series is not, which a hostile file could make last.

    Args:
        case: what the record says of the study.
        files: that the archive has given for it.
        pseudonyms: of the site.
        options: what de-identification lets through.
    """
    refused: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    series: dict[str, list[Dataset]] = {}
    incomplete: set[str] = set()
    put_off: set[str] = set()
    for file in files:
        of = ""
        try:
            dataset = read_instance(file)
            of = pseudonyms.uid(dataset.SeriesInstanceUID)
            _belongs(case, dataset)
            if of not in put_off:
                with enough_memory():
                    series.setdefault(of, []).append(deidentify(dataset, pseudonyms, options))
        except Refused as reason:
            (failed if reason.passing else refused)[reason.rule] += 1
            (put_off if reason.passing else incomplete).add(of)
        if "" in put_off or len(put_off) == MOST_FAULTS:
            return ReadStudy({}, refused, failed)
    whole = {of: not {of, ""} & incomplete for of in series if of not in put_off}
    made = {of: partial(_volume, series[of], whole=whole[of]) for of in whole}
    return ReadStudy(made, refused, failed)


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
