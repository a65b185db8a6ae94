"""The two stores of files, for tests that run over both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from avtomatika.payloads.base import PayloadStore
from avtomatika.payloads.local import LocalPayloads
from avtomatika.payloads.s3 import S3Payloads
from tests.s3_server import ACCESS_KEY, REGION, SECRET_KEY, S3Server

PART = 5 * 1024 * 1024  # the smallest that S3 allows


@pytest.fixture
def new_s3(s3_server: S3Server) -> Callable[..., PayloadStore]:
    """Returns what makes a store over a bucket; an empty one unless it is named."""

    def make(bucket: str = "", endpoint: str = "", **options: object) -> PayloadStore:
        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": REGION, "part_bytes": PART}
        return S3Payloads(endpoint or s3_server.endpoint, bucket or s3_server.new_bucket(), **{**keys, **options})

    return make


@pytest.fixture(params=["local", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PayloadStore]:
    """Returns an empty store of each kind."""
    if request.param == "local":
        made: PayloadStore = LocalPayloads(tmp_path / "files")
    else:
        made = request.getfixturevalue("new_s3")()
    yield made
    await made.close()
