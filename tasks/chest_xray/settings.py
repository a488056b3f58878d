"""What can be chosen about the X-rays."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from federation.schema import Frozen, validated
from federation.tasks import Option
from tasks.partition import Partition


class Settings(Frozen):
    """The options of the task.

    Attributes:
        collection: ``pneumonia_mnist``, or ``folder`` for images of your own.
        images: a folder or a zip of one, below the data folder: a subfolder a class, or ``labels`` tells.
        labels: a CSV below the data folder with the columns ``file`` and ``label``, and where known
            ``patient``, ``site`` and ``split`` (train or test); empty if subfolders are named as the classes.
        patient_pattern: finds the patient in a file's name; its groups together are the pseudonym, and what
            two alternatives find is never the same patient.
        size: height and width in pixels that images are brought to.
        held_out: which images measure the model: ``test``, or ``validation`` while a recipe is being chosen,
            which only PneumoniaMNIST has.
        partition: how the simulated hospitals differ; ``list`` takes the CSV's ``site``.
        alpha: how much they differ.
        seed: of the partition.
    """

    collection: Literal["pneumonia_mnist", "folder"] = "pneumonia_mnist"
    images: str = ""
    labels: str = ""
    patient_pattern: str = ""
    size: Annotated[int, Field(ge=8, le=1024)] = 28
    held_out: Literal["test", "validation"] = "test"
    partition: Partition | Literal["list"] = Partition.EVEN
    alpha: Annotated[float, Field(gt=0)] = 0.5
    seed: Annotated[int, Field(ge=0)] = 0

    @classmethod
    def of(cls, options: Mapping[str, Option]) -> "Settings":
        """The validated options.

        Raises:
            ConfigError: an option or its value is unknown.
        """
        return validated(cls, dict(options), "task.options")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.collection == "folder" and not self.images:
            raise ValueError("task.options.collection=folder needs task.options.images, the folder or zip")
        if self.collection == "folder" and self.held_out == "validation":
            raise ValueError(
                "task.options.held_out=validation: a folder has no validation images, only train and test"
            )
        if self.partition == "list" and not self.labels:
            raise ValueError(
                "task.options.partition=list needs task.options.labels, a CSV with a column site"
            )
        try:
            re.compile(self.patient_pattern)
        except re.error as error:
            raise ValueError(f"task.options.patient_pattern={self.patient_pattern!r}: {error}") from error
        return self
