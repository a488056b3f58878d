"""What a task is: a folder under ``tasks/`` that knows its data, and a YAML under ``conf/task/``.

A task package exposes one function, ``create(options, folder) -> Task``: the ``options`` of its YAML, and the
folder where collections lie that are not part of a package. It imports nothing of this project but
``federation`` and its own kind.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from federation.errors import ConfigError, DataError

Option = bool | int | float | str


@dataclass(frozen=True)
class Examples:
    """Images of some patients, or rows of a table.

    Attributes:
        images: float32 ``[images, channels, height, width]``, ready for the network; ``[images, channels]``
            for tables.
        targets: int64 ``[images]``, the class of each image.
        patients: int64 ``[images]``, which of the patients (0, 1, ...) each image shows.
        covariates: facts about each image, float64 ``[images]``, for baselines and strata; never an input
            of the network.
        identities: who patient 0, 1, ... is: what the hospital itself calls them, the same in every study.
            Never leaves the hospital; empty where nobody is shown (generated examples).
    """

    images: NDArray[np.float32]
    targets: NDArray[np.int64]
    patients: NDArray[np.int64]
    covariates: Mapping[str, NDArray[np.float64]]
    # Neither a log nor a traceback that prints examples says who is in them.
    identities: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together, and identities that do not tell patients apart."""
        lengths = {len(self.images), len(self.targets), len(self.patients)}
        lengths |= {len(values) for values in self.covariates.values()}
        if len(lengths) != 1:
            raise DataError(f"examples of {sorted(lengths)} rows: images, targets, patients must agree")
        if self.identities:
            self._check_identities()

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def patient_count(self) -> int:
        """How many patients these images show."""
        return len(np.unique(self.patients))

    def without(self, identities: Collection[str]) -> "Examples":
        """Everybody but these patients, renumbered from 0 in the same order; rows keep their order.

        Identities that nobody here has are ignored; so examples that show nobody stay as they are.
        """
        left_out = set(identities)
        kept = np.array([identity not in left_out for identity in self.identities], dtype=np.bool_)
        if kept.all():
            return self
        rows = kept[self.patients]
        numbers, patients = np.unique(self.patients[rows], return_inverse=True)
        return Examples(
            images=self.images[rows],
            targets=self.targets[rows],
            patients=patients.astype(np.int64),
            covariates={name: values[rows] for name, values in self.covariates.items()},
            identities=tuple(self.identities[number] for number in numbers.tolist()),
        )

    def only(self, identities: Collection[str]) -> "Examples":
        """These patients and nobody else, as `without` would leave them."""
        return self.without(set(self.identities).difference(identities))

    def _check_identities(self) -> None:
        """Messages count patients and never name them: errors are logged, and logs are read elsewhere."""
        least, most = int(self.patients.min(initial=0)), int(self.patients.max(initial=-1))
        if least < 0 or len(self.identities) != most + 1:
            raise DataError(
                f"{len(self.identities)} identities for patients numbered {least} to {most}: there must be "
                "one for each number from 0"
            )
        if not all(isinstance(identity, str) and identity for identity in self.identities):
            raise DataError("identities must be texts, and none of them empty")
        repeated = len(self.identities) - len(set(self.identities))
        if repeated:
            raise DataError(
                f"{repeated} of {len(self.identities)} identities are another patient's, too; all images of "
                "a person must have one number in patients, and no two people one identity"
            )


def pool(parts: list[Examples]) -> Examples:
    """Put the examples of several hospitals together; no two of them share a patient.

    Raises:
        DataError: two of them have a patient of the same identity, or only some say who their patients are.
    """
    silent = [not part.identities for part in parts if len(part)]
    if any(silent) and not all(silent):
        raise DataError(
            f"{sum(silent)} of {len(silent)} hospitals do not say who their patients are "
            "(Examples.identities); all must, or none"
        )
    identities = tuple(identity for part in parts for identity in part.identities)
    shared_patients = len(identities) - len(set(identities))
    if shared_patients:
        raise DataError(
            f"hospitals that are put together share {shared_patients} patients; nobody may be in two of them"
        )
    offsets = np.cumsum([0] + [int(part.patients.max(initial=-1)) + 1 for part in parts[:-1]])
    shared = set.intersection(*(set(part.covariates) for part in parts))
    return Examples(
        images=np.concatenate([part.images for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        patients=np.concatenate([part.patients + int(o) for part, o in zip(parts, offsets, strict=True)]),
        covariates={name: np.concatenate([p.covariates[name] for p in parts]) for name in sorted(shared)},
        identities=identities,
    )


@dataclass(frozen=True)
class Cohort:
    """The patients of one hospital; nobody is in both halves.

    Attributes:
        description: what sets this hospital apart, for people, e.g. ``"CT slices of 1.25 mm"``.
        train: patients the model may learn from.
        test: patients held out.
        version: which state of the hospital's data it is, for the hospital's own books; empty where data have
            no versions.
    """

    description: str
    train: Examples
    test: Examples
    version: str = ""


class Task(Protocol):
    """A task's data, as the rest of the house sees it."""

    def cohort(self, part: int, parts: int) -> Cohort:
        """The patients of hospital ``part`` of ``parts`` in a simulation.

        Raises:
            DataError: there are not that many hospitals in the data.
        """
        ...

    def public_examples(self, count: int, seed: int) -> Examples:
        """``count`` generated examples that no patient's data went into, for pretraining.

        Raises:
            DataError: the task has no such generator.
        """
        ...

    def read_image(self, path: Path) -> NDArray[np.float32]:
        """One image file as ``[channels, *image_size]``, prepared exactly as those the model learnt from.

        Raises:
            DataError: the file cannot be read, or the task takes no image files.
        """
        ...


def load_task(package: str, options: Mapping[str, Option], folder: Path = Path()) -> Task:
    """The task that lives in ``package``, e.g. ``"tasks.nodule_ct"``; the same one each time in a process.

    Args:
        package: where to find it.
        options: the ``options`` of its YAML.
        folder: where collections lie that are not part of a package.

    Raises:
        ConfigError: there is no such package, or it is no task, or it does not know an option.
    """
    return _load_task(package, tuple(sorted(options.items())), folder)


@lru_cache(maxsize=8)
def _load_task(package: str, options: tuple[tuple[str, Option], ...], folder: Path) -> Task:
    try:
        create = cast("Callable[[Mapping[str, Option], Path], Task]", import_module(package).create)
    except ModuleNotFoundError as error:
        raise ConfigError(f"task.package={package!r} cannot be imported ({error}); see conf/task/") from error
    except AttributeError as error:
        raise ConfigError(f"task.package={package!r} has no function create(options, folder)") from error
    task = create(dict(options), folder)
    missing = [name for name in ("cohort", "public_examples", "read_image") if not hasattr(task, name)]
    if missing:
        raise ConfigError(
            f"task.package={package!r}: {type(task).__name__} has no {', '.join(missing)}; see "
            "docs/add-a-task.md"
        )
    return task
