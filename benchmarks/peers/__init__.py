"""Programs that do the same jobs with other libraries; each runs in an environment of its own; see compare.py."""
