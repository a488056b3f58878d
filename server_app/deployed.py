"""A researcher's run at a coordinator: their configuration, our code, the coordinator's folders."""

import dataclasses
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid

from federation.config import ROSTER_FILE, RunConfig, RunOptions, compose_run
from federation.errors import ConfigError
from federation.overrides import quoted, setting_of
from federation.run_config import hydra_overrides
from server_app.audit_heads import HEADS_FILE
from server_app.plain_log import PlainLog
from server_app.study_run import StudyRun

# What says where things lie is the coordinator's, as is what only simulations have.
_NOT_FOR_RESEARCHERS = ("run_dir", "heads", "roster", "models", "seed", "engine", "tracker")


class Coordinator:
    """A coordinator's folder, and the runs that are carried out there.

    ``runs/`` has a folder for each run, ``roster.json`` the federation's members and ``audit-heads.jsonl``
    how far each hospital's audit log had come.

    Args:
        folder: the coordinator's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def carry_out(self, grid: Grid, context: Context, bundle: Path) -> None:
        """Run the study that ``context`` and the bundle's ``conf/`` describe, by this release's code.

        Raises:
            ConfigError: the configuration is wrong, or sets what is the coordinator's.
            WardroundError: the run failed; its record says so too.
        """
        run = self.run(hydra_overrides(context.run_config), bundle / "conf", f"flower-{context.run_id}")
        StudyRun(run, grid, Path(str(run.options.run_dir)), [PlainLog()]).execute()

    def run(self, overrides: list[str], conf: Path, name: str) -> RunConfig:
        """The run that a researcher describes, with everything in its place here.

        Args:
            overrides: of Hydra; ``resume=NAME`` goes on with the run of that name.
            conf: what they choose from.
            name: of a new run's folder.

        Raises:
            ConfigError: as ``carry_out``.
        """
        for item in overrides:
            if setting_of(item) in _NOT_FOR_RESEARCHERS:
                raise ConfigError(f"{item}: {setting_of(item)} is the coordinator's to say; leave it out")
        resumed = [item.partition("=")[2] for item in overrides if setting_of(item) == "resume"]
        folder = self._begun(resumed[-1]) if resumed else self._runs / name
        others = [item for item in overrides if setting_of(item) != "resume"]
        run = compose_run([*others, *([f"resume={quoted(folder)}"] if resumed else [])], conf)
        # All of them, whatever the researcher's conf/ says.
        options = RunOptions(
            run_dir=str(folder),
            resume=str(folder) if resumed else None,
            heads=str(self._folder / HEADS_FILE),
            roster=str(self._folder / ROSTER_FILE),
            models=str(self._runs),
        )
        return dataclasses.replace(run, options=options)

    @property
    def _runs(self) -> Path:
        return self._folder / "runs"

    def _begun(self, name: str) -> Path:
        known = sorted(path.name for path in self._runs.glob("*/")) if self._runs.is_dir() else []
        if name not in known:
            raise ConfigError(
                f"resume={name!r} is no run of this coordinator; the last are {known[-5:] or 'none'}"
            )
        return self._runs / name
