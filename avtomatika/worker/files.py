"""Files of tasks: what params name is brought to this machine, and what a function has made is stored for its job.

Each task has a folder of its own, which is removed when the task has ended. Copies and results live there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from avtomatika.errors import (
    ConfigError,
    PayloadError,
    PayloadMismatchError,
    PayloadNameError,
    PayloadNotFoundError,
)
from avtomatika.payloads.base import PayloadStore
from avtomatika.payloads.cache import cached
from avtomatika.payloads.keys import ROOT
from avtomatika.payloads.optional import load_s3
from avtomatika.payloads.task_files import TaskFiles
from avtomatika.protocol.files import FileFacts, store_fingerprint
from avtomatika.protocol.messages import Result, TaskMessage
from avtomatika.worker.task_errors import IntegrityError, InvalidInputError, TaskError, TransientError

_DEFAULT_BUCKET, _DEFAULT_REGION = "avtomatika-payloads", "us-east-1"
_DEFAULT_CONCURRENCY, _DEFAULT_CACHE_BYTES = 100, 10 * 2**30
_FOLDER = "avtomatika-tasks"


class FileDesk:
    """Where a worker takes files from and brings them to.

    Args:
        store: keeps the files; None for a worker without one, whose tasks get their params as they are.
        folder: in which each task has a folder of its own.
        owns: the store is closed with the desk.
    """

    def __init__(self, store: PayloadStore | None, folder: Path, *, owns: bool = False) -> None:
        self._store = store
        self._folder = folder
        self._owns = owns

    def errand(self, task: TaskMessage) -> Errand:
        """Returns what moves the files of a task."""
        return Errand(self._store, task, self._folder / task.task_id)

    async def close(self) -> None:
        """Gives up what the store holds open, if it is the worker's own."""
        if self._owns and self._store is not None:
            await self._store.close()


class Errand:
    """The files of one task. Made by ``FileDesk.errand``."""

    def __init__(self, store: PayloadStore | None, task: TaskMessage, folder: Path) -> None:
        self._store = store
        self._task = task
        self.folder = folder
        self._files: TaskFiles | None = None

    @property
    def files(self) -> TaskFiles:
        """The files of the job.

        Raises:
            TaskError: the worker has no store.
        """
        if self._store is None:
            raise TaskError(
                "the function asks for task_files, but this worker has no store of files: set S3_ENDPOINT_URL, or give "
                "Worker(files=LocalPayloads(...)) the directory of the engine.",
                "DEPENDENCY_ERROR",
            )
        if self._files is None:
            known = {facts.uri: facts for facts in self._task.params_metadata.values()}
            self._files = TaskFiles(self._store, self._task.job_id, known, self.folder / "files")
        return self._files

    async def bring(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the params with copies on this machine in place of the addresses of stored files.

        An address with ``/`` at its end is a folder, and all of its files come. Addresses elsewhere stay as they are.

        Raises:
            InvalidInputError: there is no such file, or it is another job's.
            IntegrityError: the file is not what the engine knows of it.
            TransientError: the store does not answer.
        """
        if self._store is None:
            return params
        brought: Any = await self._brought(params, "")
        return params if brought is params else brought  # type: ignore[no-any-return]

    async def send(self, result: Result) -> Result:
        """Stores the files that a result names by their paths in the task's folder; returns it with their addresses.

        Raises:
            TransientError: the store does not answer.
        """
        if self._store is None or not await asyncio.to_thread(self.folder.is_dir):
            return result
        facts: dict[str, FileFacts] = {}
        try:
            data = await self._sent(result.data, "", facts)
        except PayloadError as error:
            raise _task_error(error, "the result") from error
        return replace(result, data=data, data_metadata={**result.data_metadata, **facts}) if facts else result

    @property
    def has_folder(self) -> bool:
        """Whether there is anything of the task on this machine."""
        return self.folder.exists()

    def remove(self) -> None:
        """Removes the task's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- params ---

    async def _brought(self, value: Any, path: str) -> Any:
        if isinstance(value, str):
            return await self._copy(value, path)
        if isinstance(value, Mapping):
            return {
                key: await self._brought(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [await self._brought(item, f"{path}[{index}]") for index, item in enumerate(value)]
        return value

    async def _copy(self, uri: str, path: str) -> str:
        assert self._store is not None  # noqa: S101 - for the type checker
        if "://" not in uri:
            return uri
        try:
            key = self._store.key_of(uri.rstrip("/"))
        except PayloadNameError:
            return uri  # of no file of this store
        self._check_owner(key, uri, path)
        place = self.folder / "params" / path.replace("/", "_") / key.rsplit("/", 1)[-1]
        try:
            if uri.endswith("/"):
                return await self._copy_folder(f"{key}/", place, uri)
            found = await self._store.read_file(key, place)
        except PayloadError as error:
            raise _task_error(error, f"params.{path}") from error
        known = self._task.params_metadata.get(path)
        if known is not None and known.uri == uri:
            for name in ("size", "etag"):
                if getattr(known, name) and getattr(known, name) != getattr(found, name):
                    raise IntegrityError(
                        f"params.{path}: {uri} has another {name} than the engine knows of it; it was changed since.",
                        details={"path": f"params.{path}"},
                    )
        return str(place)

    async def _copy_folder(self, prefix: str, place: Path, uri: str) -> str:
        assert self._store is not None  # noqa: S101 - as above
        keys = [self._store.key_of(facts.uri) async for facts in self._store.list(prefix)]
        if not keys:
            raise PayloadNotFoundError(uri)
        for key in keys:
            await self._store.read_file(key, place / key.removeprefix(prefix))
        return f"{place}/"

    def _check_owner(self, key: str, uri: str, path: str) -> None:
        """Refuses files of other jobs that the engine does not vouch for: an address may have come from a client."""
        root, _, rest = key.partition("/")
        is_foreign = root == ROOT and rest.split("/", 1)[0] != self._task.job_id
        if is_foreign and uri not in {facts.uri for facts in self._task.params_metadata.values()}:
            raise InvalidInputError(
                f"params.{path}: {uri} is a file of another job; the engine does not say that this one may have it.",
                details={"path": f"params.{path}"},
            )

    # --- results ---

    async def _sent(self, value: Any, path: str, facts: dict[str, FileFacts]) -> Any:
        if isinstance(value, str):
            return await self._stored(value, path, facts)
        if isinstance(value, Mapping):
            return {
                key: await self._sent(item, f"{path}.{key}" if path else str(key), facts) for key, item in value.items()
            }
        if isinstance(value, list):
            return [await self._sent(item, f"{path}[{index}]", facts) for index, item in enumerate(value)]
        return value

    async def _stored(self, text: str, path: str, facts: dict[str, FileFacts]) -> str:
        """Stores what a text names, if that is a file or folder of this task; returns the address, or the text."""
        if not text.startswith(f"{self.folder}{os.sep}"):
            return text
        place = Path(text)
        if ".." in place.parts or await asyncio.to_thread(place.is_symlink):
            return text
        # Below the task's id: branches of a fan-out that call their files alike do not meet.
        name = f"{self._task.task_id}/{_relative(place, self.folder)}"
        if await asyncio.to_thread(place.is_file):
            stored = await self.files.upload(place, name)
            assert isinstance(stored, FileFacts)  # noqa: S101 - a file has one set of facts
            facts[path] = stored
            return stored.uri
        if await asyncio.to_thread(place.is_dir):
            all_facts = await self.files.upload(f"{place}/", f"{name}/")
            uri = f"{self.files.uri(name)}/"
            assert not isinstance(all_facts, FileFacts)  # noqa: S101 - a folder has many
            facts[path] = FileFacts(uri, sum(one.size for one in all_facts))
            return uri
        return text


def read_desk(environment: Mapping[str, str], store: PayloadStore | None) -> FileDesk:
    """Returns where a worker takes files from.

    Args:
        environment: S3_ENDPOINT_URL with S3_ACCESS_KEY, S3_SECRET_KEY, S3_DEFAULT_BUCKET, S3_REGION and
            S3_MAX_CONCURRENCY; TASK_FILES_DIR (the first releases: WORKER_PAYLOAD_DIR) holds the folders of tasks;
            WORKER_BLOB_CACHE_DIR, if it is set, holds copies of files of the store, up to WORKER_BLOB_CACHE_BYTES.
        store: of the author, which wins.

    Raises:
        ConfigError: a variable is wrong, or a package is missing that it needs.
    """
    root = environment.get("TASK_FILES_DIR") or environment.get("WORKER_PAYLOAD_DIR")
    folder = Path(root).absolute() if root else Path(tempfile.gettempdir()) / _FOLDER
    chosen = _s3(environment) if store is None else store
    cache = environment.get("WORKER_BLOB_CACHE_DIR")
    if chosen is not None and cache:
        limit = _whole("WORKER_BLOB_CACHE_BYTES", environment, _DEFAULT_CACHE_BYTES)
        chosen = cached(chosen, Path(cache).absolute(), limit)
    return FileDesk(chosen, folder, owns=store is None)


def fingerprint(environment: Mapping[str, str]) -> str:
    """Returns what the engine is told of the object store, or an empty text."""
    return store_fingerprint(
        environment.get("S3_ENDPOINT_URL", "").rstrip("/"),
        environment.get("S3_ACCESS_KEY", ""),
        environment.get("S3_DEFAULT_BUCKET") or _DEFAULT_BUCKET,
    )


def _s3(environment: Mapping[str, str]) -> PayloadStore | None:
    endpoint = environment.get("S3_ENDPOINT_URL", "").rstrip("/")
    if not endpoint:
        return None
    backend = load_s3()
    return backend(
        endpoint,
        environment.get("S3_DEFAULT_BUCKET") or _DEFAULT_BUCKET,
        environment.get("S3_ACCESS_KEY", ""),
        environment.get("S3_SECRET_KEY", ""),
        region=environment.get("S3_REGION") or _DEFAULT_REGION,
        max_concurrency=_whole("S3_MAX_CONCURRENCY", environment, _DEFAULT_CONCURRENCY),
    )


def _whole(variable: str, environment: Mapping[str, str], default: int) -> int:
    told = environment.get(variable) or str(default)
    if not (told.isascii() and told.isdigit() and int(told) > 0):
        raise ConfigError(f"the variable {variable} is {told!r}; a whole number of at least 1 was expected.")
    return int(told)


def _relative(place: Path, folder: Path) -> str:
    """Returns the name of a file in its task; where it stands on this machine is nobody's business."""
    return place.relative_to(folder).as_posix().removeprefix("files/")


def _task_error(error: PayloadError, where: str) -> TaskError:
    details = {"path": where}
    if isinstance(error, PayloadMismatchError):
        return IntegrityError(f"{where}: {error}", details=details)
    if isinstance(error, PayloadNotFoundError | PayloadNameError):
        return InvalidInputError(f"{where}: {error}", details=details)
    return TransientError(f"{where}: {error}", details=details)
