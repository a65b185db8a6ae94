"""The worker SDK: functions that do tasks for an engine."""
