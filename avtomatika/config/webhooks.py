"""Settings of webhooks: how they are signed, and where they may go."""

from __future__ import annotations

from avtomatika.config.setting import Group, setting


class WebhookSettings(Group):
    """How webhooks are signed, and where they may go."""

    WEBHOOK_SECRET: str = setting(
        "",
        "Secret that webhooks are signed with (Standard Webhooks); best `whsec_` and base64. Empty signs none.",
        "empty or a secret",
        secret=True,
    )
    WEBHOOK_ALLOW_PRIVATE: bool = setting(
        False,
        "Whether webhooks may go to loopback and private addresses. An engine that serves loopback only may.",
        "true or false",
    )
    WEBHOOK_ALLOWED_HOSTS: str = setting(
        "",
        "Hosts to which webhooks may go although their addresses are private, separated by commas.",
        "empty or such as hooks.internal, *.svc.local, 10.0.0.7",
    )
