"""The patients of each of the four hospitals."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from federation.errors import DataError
from federation.tasks import Cohort, Examples
from tasks.heart_disease.findings import FINDINGS, WIDTH, encode
from tasks.split import in_train

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")


class HeartDiseaseTask:
    """Whether a coronary artery is narrowed by half or more.

    Args:
        folder: holds ``processed.<hospital>.data``, one patient a line.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def cohort(self, part: int, parts: int) -> Cohort:
        """The patients of hospital ``part``.

        Raises:
            DataError: there are not that many hospitals, or a file cannot be read.
        """
        if not 0 <= part < parts <= len(HOSPITALS):
            raise DataError(
                f"hospital {part} of {parts} was asked for, but heart_disease has {len(HOSPITALS)}: "
                f"{', '.join(HOSPITALS)}; choose a federation of 1 to {len(HOSPITALS)} sites"
            )
        name = HOSPITALS[part]
        table = self._read(self._folder / f"processed.{name}.data")
        everybody = _examples(name, table)
        learnt = [patient for patient in everybody.identities if in_train(patient)]
        return Cohort(name, everybody.only(learnt), everybody.without(learnt))

    def public_examples(self, count: int, seed: int) -> Examples:
        """Not offered.

        Raises:
            DataError: always.
        """
        raise DataError(
            f"heart_disease generates no examples ({count} were asked for, seed {seed}); "
            "choose pretraining.source=random"
        )

    def read_image(self, path: Path) -> NDArray[np.float32]:
        """Not offered: a patient is a row of findings.

        Raises:
            DataError: always.
        """
        raise DataError(f"heart_disease takes rows of a table, not image files such as {path.name}")

    def _read(self, path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """The table of a hospital, float64 ``[patients, 14]``; a missing value is not a number."""
        try:
            table = np.genfromtxt(path, delimiter=",", dtype=np.float64, ndmin=2)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} cannot be read ({error}); set site.data.folder to the folder above "
                f"{self._folder.name}/"
            ) from error
        if table.shape[1] != len(FINDINGS) + 1 or np.isnan(table[:, -1]).any():
            raise DataError(f"{path} needs {len(FINDINGS)} findings and a diagnosis in each line")
        return table


def _examples(hospital: str, table: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Examples:
    return Examples(
        images=np.array([encode(row[:-1].tolist()) for row in table], dtype=np.float32).reshape(-1, WIDTH),
        targets=(table[:, -1] > 0).astype(np.int64),
        patients=np.arange(len(table)),
        covariates={"age": table[:, 0]},
        identities=tuple(f"{hospital}-{row}" for row in range(len(table))),
    )
