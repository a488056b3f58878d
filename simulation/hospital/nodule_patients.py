"""Patients whom nobody ever was: nodules of LIDC-IDRI as CT in a PACS, and what a record says of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from simulation.hospital.ct_series import CtStudy, Patient, encoded
from simulation.hospital.nodule_series import nodule_slices
from simulation.hospital.records import Given, Resource, nodule_patient_bundle
from tasks.nodule_ct.label import Label
from tasks.nodule_ct.lidc import Nodule, read_nodules
from tasks.nodule_ct.protocol import protocol_number
from tasks.nodule_ct.shape import PIXEL, largest_slice

_OPTED_OUT = 15  # of so many patients one has said no


@dataclass(frozen=True)
class NodulePatient:
    """One patient of a hospital.

    Attributes:
        who: name, number and so on, all made up.
        given: what they said of research.
        studies: one for each nodule.
        nodules: what is on them.
    """

    who: Patient
    given: Given
    studies: tuple[CtStudy, ...]
    nodules: tuple[Nodule, ...]

    def files(self) -> Iterator[bytes]:
        """Their DICOM files."""
        for study, nodule in zip(self.studies, self.nodules, strict=True):
            whole = replace(study, values=nodule_slices(nodule))
            for instance in whole.instances():
                yield encoded(instance)

    def record(self) -> Resource:
        """A transaction of all that the hospital's record has of them."""
        entries: dict[str, Resource] = {}
        for study, nodule in zip(self.studies, self.nodules, strict=True):
            area = largest_slice(nodule)[1]
            bundle = nodule_patient_bundle(
                self.who.id,
                study_uid=study.uid,
                accession=study.accession,
                malignant=bool(Label.MALIGNANCY.target(nodule)),
                diameter_mm=round(2 * float(np.sqrt(area / np.pi)), 2),
                area_mm2=round(area, 2),
                scanned=f"{study.date[:4]}-{study.date[4:6]}-{study.date[6:]}",
                consent=self.given,
            )
            entries |= {entry["fullUrl"]: entry for entry in bundle["entry"]}
        return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries.values())}


def patients_of(part: int, most: int | None) -> list[NodulePatient]:
    """The patients of the hospital whose CT follows protocol ``part``, or the first ``most`` of them."""
    chosen = [
        nodule
        for nodule in read_nodules()
        if protocol_number(nodule.slice_thickness) == part and Label.MALIGNANCY.target(nodule) is not None
    ]
    chosen.sort(key=lambda nodule: nodule.patient)
    people = [tuple(nodules) for _, nodules in groupby(chosen, key=lambda nodule: nodule.patient)][:most]
    first = [0, *np.cumsum([len(nodules) for nodules in people]).tolist()]
    return [
        NodulePatient(
            who := Patient(10_000 * part + number),
            "deny" if number % _OPTED_OUT == _OPTED_OUT - 1 else "permit",
            tuple(
                CtStudy(
                    10_000 * part + first[number] + place,
                    who,
                    slices=5,
                    size=64,
                    spacing=(nodule.slice_thickness, PIXEL),
                )
                for place, nodule in enumerate(nodules)
            ),
            nodules,
        )
        for number, nodules in enumerate(people)
    ]
