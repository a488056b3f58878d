"""Lung nodules: malignant or benign, on CT patches rendered from the outlines of LIDC-IDRI.

Origin, licence, counts and known faults: ``CARD.md`` in this folder.
"""

from collections.abc import Mapping
from pathlib import Path

from federation.errors import ConfigError
from federation.tasks import Option, Task
from tasks.nodule_ct.label import Label


def create(options: Mapping[str, Option], folder: Path) -> Task:  # noqa: ARG001
    """The task, which needs no folder; its option ``label`` is ``malignancy`` (default) or ``suspicious``.

    Raises:
        ConfigError: an option or its value is unknown.
    """
    for name in options:
        if name != "label":
            raise ConfigError(f"task.options.{name} is unknown to nodule_ct; its only option is label")
    label = options.get("label", Label.MALIGNANCY.value)
    if label not in list(Label):
        raise ConfigError(f"task.options.label={label!r} is unknown; choose one of {', '.join(Label)}")
    # scipy and Pillow take a while to load; whoever only checks options should not wait for them.
    from tasks.nodule_ct.cohort import NoduleTask  # noqa: PLC0415

    return NoduleTask(Label(label))
