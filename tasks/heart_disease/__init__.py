"""Heart disease from 13 findings at four real hospitals (UCI, Detrano et al. 1989), see ``CARD.md``."""

from collections.abc import Mapping
from pathlib import Path

from federation.errors import ConfigError
from federation.tasks import Option, Task
from tasks.heart_disease.task import HeartDiseaseTask


def create(options: Mapping[str, Option], folder: Path) -> Task:
    """The task; it has no options.

    Raises:
        ConfigError: an option was given.
    """
    if options:
        raise ConfigError(f"task.options={dict(options)}: heart_disease has no options")
    return HeartDiseaseTask(folder / "heart_disease_4sites")
