"""The workbench: an engine in a notebook."""
