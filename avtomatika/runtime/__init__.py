"""The asynchronous shell around the core."""
