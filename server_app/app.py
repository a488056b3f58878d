"""The Flower ServerApp: wiring only."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from federation.config import compose_run, run_folder
from federation.run_config import hydra_overrides
from server_app.listeners import current_listeners
from server_app.plain_log import PlainLog
from server_app.study_run import StudyRun

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the study that the run config describes, and leave its record in the run's folder."""
    run = compose_run(hydra_overrides(context.run_config))
    folder = run_folder(run, f"flower-{context.run_id}")
    StudyRun(run, grid, folder, current_listeners([PlainLog()])).execute()
