"""The patients of a hospital for one task."""

from client_app.site import SimulatedData
from federation.errors import DataError
from federation.study import TaskSpec
from federation.tasks import Cohort, Examples, load_task, pool


def load_cohort(data: SimulatedData, spec: TaskSpec) -> Cohort:
    """The training and test patients; with several parts, all of theirs together.

    Raises:
        DataError: the task has no such data, or they are not what the study expects.
    """
    task = load_task(spec.package, spec.options, data.folder)
    cohorts = [task.cohort(part, data.of) for part in data.parts]
    cohort = Cohort(
        description=", ".join(cohort.description for cohort in cohorts),
        train=pool([cohort.train for cohort in cohorts]),
        test=pool([cohort.test for cohort in cohorts]),
        version=" ".join(cohort.version for cohort in cohorts if cohort.version),
    )
    for examples in (cohort.train, cohort.test):
        _check(examples, spec)
    both = len(set(cohort.train.identities).intersection(cohort.test.identities))
    if both:
        raise DataError(
            f"task {spec.name} has {both} patients in train and in test; a patient must be in one of them"
        )
    return cohort


def _check(examples: Examples, spec: TaskSpec) -> None:
    if len(examples) and not examples.identities:
        raise DataError(
            f"task {spec.name} does not say who its patients are (Examples.identities); hospitals compose "
            "what each patient has given"
        )
    expected = (spec.channels, *spec.image_size)
    if examples.images.shape[1:] != expected:
        raise DataError(
            f"task {spec.name} gives images of {list(examples.images.shape[1:])}, the study expects "
            f"{list(expected)}; mend task.channels and task.image_size"
        )
    kinds = {"images": (examples.images.dtype, "float32"), "targets": (examples.targets.dtype, "int64")}
    for name, (found, wanted) in kinds.items():
        if found != wanted:
            raise DataError(f"task {spec.name} gives {name} as {found}; they must be {wanted}")
    if len(examples) and not 0 <= examples.targets.min() <= examples.targets.max() < len(spec.classes):
        raise DataError(f"task {spec.name} has targets outside its {len(spec.classes)} classes")
