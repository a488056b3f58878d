"""What a sweep leaves behind beside its runs, as a typed record: ``sweep.json``."""

from typing import Literal

from server_app.record import Entry, Measurement


class JobRecord(Entry):
    """One run of a sweep.

    Attributes:
        folder: its name below the sweep's; the run's whole record is there.
        settings: its value of each swept setting.
        overrides: everything that it was told.
        status: ``waiting`` has not ended yet, ``not run`` was never begun.
        reason: why it failed.
        began: seconds after the sweep's beginning.
        epsilon: what each patient is promised; None without privacy.
        distributed: whether by noise in shares, so that ``epsilon`` holds against the coordinator and those
            in league with it; the run's own record says what holds against others.
        delta: what ``epsilon`` holds at.
        seed: the one that its noise follows from.
        hospitals: how many take part.
        measured: the released model on all hospitals' test patients.
    """

    folder: str
    settings: dict[str, str]
    overrides: tuple[str, ...]
    status: Literal["waiting", "completed", "failed", "interrupted", "not run"] = "waiting"
    reason: str = ""
    began: float | None = None
    seconds: float | None = None
    epsilon: float | None
    distributed: bool = False
    delta: float | None = None
    seed: int | None
    hospitals: int
    measured: Measurement | None = None

    @property
    def auc(self) -> float | None:
        """Of the released model; None where there is none, or the test patients are of one class."""
        return self.measured.auc if self.measured else None


class SweepRecord(Entry):
    """``sweep.json``.

    Attributes:
        titles: of the studies that were run.
        swept: the values of each setting that has several.
        at_once: how many runs went on at the same time.
        rendered: some images were drawn, not acquired.
    """

    titles: tuple[str, ...]
    swept: dict[str, tuple[str, ...]]
    at_once: int
    rendered: bool
    started: str
    seconds: float
    jobs: tuple[JobRecord, ...]

    @property
    def measured(self) -> tuple[JobRecord, ...]:
        """The runs that have an AUC."""
        return tuple(job for job in self.jobs if job.auc is not None)
