"""Live widgets over avtomatika jobs."""

from avtomatika_widgets.job_view import JobView

__all__ = ["JobView"]
