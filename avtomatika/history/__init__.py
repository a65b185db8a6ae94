"""What happened: events of jobs and workers, kept for reading."""
