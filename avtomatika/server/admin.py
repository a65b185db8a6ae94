"""What operators do over HTTP while the engine runs."""

from __future__ import annotations

import logging

from aiohttp import web

from avtomatika.errors import ConfigError
from avtomatika.server.bodies import RequestError, answer
from avtomatika.server.keys import ACCESS_KEY, CLIENT_KEY

log = logging.getLogger(__name__)


async def reload_workers(request: web.Request) -> web.Response:
    """``POST /api/v1/admin/reload-workers``: reads ``workers.toml`` again; a broken file changes nothing."""
    client = request[CLIENT_KEY]
    try:
        count = request.app[ACCESS_KEY].read_workers_again()
    except ConfigError as error:
        log.warning("workers.toml was not taken: %s", error, extra={"action": "reload_failed", "client": client.name})
        raise RequestError(400, "invalid_config", f"the file cannot be used, and nothing is changed: {error}") from None
    log.info("read workers.toml again", extra={"action": "reloaded", "client": client.name})
    return answer({"status": "worker_configs_reloaded", "sections": count})
