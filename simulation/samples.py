"""What the hospitals' images look like, as a contact sheet for the report."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from federation.files import write_whole
from federation.study import TaskSpec
from federation.tasks import Cohort
from tasks.nodule_ct.sheet import draw_samples


def write_samples(path: Path, cohorts: Mapping[str, Cohort], task: TaskSpec) -> None:
    """Write the sheet as a PNG."""
    picture = BytesIO()
    draw_samples(cohorts, task.classes).savefig(picture, format="png", dpi=110)
    write_whole(path, picture.getvalue())
