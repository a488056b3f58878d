"""A lesion on the middle slice of each series in a hospital's own store.

What is in a store: ``federation.site_store``. What is made of it: ``CARD.md`` in this folder.
"""

from collections.abc import Mapping
from pathlib import Path

from federation.tasks import Option, Task
from tasks.ct_lesion.settings import Settings


def create(options: Mapping[str, Option], folder: Path) -> Task:
    """The task; its options are the fields of ``Settings``, and ``folder`` is the store.

    Raises:
        ConfigError: an option or its value is unknown.
    """
    settings = Settings.of(options)
    # MONAI takes a while to load; whoever only checks options should not wait for it.
    from tasks.ct_lesion.task import LesionTask  # noqa: PLC0415

    return LesionTask(settings, folder)
