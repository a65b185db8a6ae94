"""Live widgets over avtomatika jobs."""

from avtomatika_widgets.boards import Dashboard, JobTable, QueueChart, WorkerBoard
from avtomatika_widgets.job_view import JobView

__all__ = ["Dashboard", "JobTable", "JobView", "QueueChart", "WorkerBoard"]
