"""The run's record as one page that a hospital's board can read: ``write_report(run_dir)``."""

from server_app.report.page import write_report

__all__ = ["write_report"]
