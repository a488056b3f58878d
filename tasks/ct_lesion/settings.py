"""What can be chosen of a hospital's stored series, and how they are prepared: the same at every hospital."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from federation.schema import Frozen, validated
from federation.tasks import Option

Feature = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Plane = Literal["axial", "coronal", "sagittal"]


class Settings(Frozen):
    """The options of the task.

    Attributes:
        label: the feature in the store that says the class of a series.
        classes: its values, the healthy one first, with commas between; as the task's ``classes``. A series
            with another value, or none, takes no part.
        covariates: features that are numbers, with commas between, for baselines and strata. A series that
            lacks one takes no part.
        modality: of the series that take part.
        plane: which way the slice through the middle lies.
        spacing: of a pixel, in mm.
        size: height and width in pixels; less is filled with the window's lower end.
        low: the value that becomes -1; HU for CT.
        high: the value that becomes 1.
    """

    label: Feature = "label"
    classes: Annotated[str, Field(min_length=3)] = "benign,malignant"
    covariates: str = ""
    modality: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,16}$")] = "CT"
    plane: Plane = "axial"
    spacing: Annotated[float, Field(ge=0.05, le=20)] = 0.75
    size: Annotated[int, Field(ge=8, le=1024)] = 64
    low: float = -1000.0
    high: float = 400.0

    @classmethod
    def of(cls, options: Mapping[str, Option]) -> "Settings":
        """The validated options.

        Raises:
            ConfigError: an option or its value is unknown.
        """
        return validated(cls, dict(options), "task.options")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, one by one."""
        return tuple(name.strip() for name in self.classes.split(","))

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """The covariates, one by one."""
        return tuple(name.strip() for name in self.covariates.split(",") if name.strip())

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"task.options.low={self.low} must be less than task.options.high={self.high}")
        if len(set(self.class_names)) < 2 or "" in self.class_names:
            raise ValueError(f"task.options.classes={self.classes!r} must name two different classes or more")
        return self
