"""Webhooks: telling the outcome of a job to whoever asked for it."""
