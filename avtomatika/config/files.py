"""Settings of the files of jobs: the store that they are in."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from avtomatika.config.setting import Group, setting


def _none_or_much(size: int) -> int:
    """Refuses sizes of which a reference would save nothing."""
    if size and size < 1024:
        raise ValueError("too small")
    return size


class FileSettings(Group):
    """Where the files and the large documents of jobs are kept."""

    TASK_FILES_DIR: str = setting(
        "",
        "Directory of the files of jobs, where there is no S3 store. Several engines must share it. Empty takes a "
        "directory beside the SQLite file of `STORAGE_URI`, `avtomatika-files` where the engine was started with a "
        "Redis, and a temporary one, which ends with the engine, for jobs in memory.",
        "empty or the path of a directory; it is made when the first file comes",
    )
    FILE_MAX_BYTES: int = setting(
        5 * 1024**3, "Largest file that a client may send to a job.", "a whole number from 1024", ge=1024
    )
    PAYLOAD_OFFLOAD_BYTES: Annotated[int, AfterValidator(_none_or_much)] = setting(
        256 * 1024,
        "Initial data, state_history, results and params above this size are kept with the files of the job; 0 keeps "
        "them in the storage. With Redis or memory and files in a directory, it holds only if it is set.",
        "0, or a whole number from 1024",
    )
    S3_ENDPOINT_URL: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] = setting(
        "",
        "Address of an S3 store in which the files of jobs are kept. Empty keeps them in a directory.",
        "empty or an address such as https://s3.eu-central-1.amazonaws.com, without a bucket",
        pattern=r"^(https?://[^/\s?#@]+/?)?$",
    )
    S3_ACCESS_KEY: str = setting(
        "",
        "Key of that store. Empty takes the credentials that the machine has (variables of AWS, a role).",
        "empty or printable ASCII characters without spaces",
        pattern=r"^[\x21-\x7e]{0,1024}$",
        secret=True,
    )
    S3_SECRET_KEY: str = setting(
        "",
        "Secret of that key.",
        "empty or printable ASCII characters without spaces",
        pattern=r"^[\x21-\x7e]{0,1024}$",
        secret=True,
    )
    S3_DEFAULT_BUCKET: str = setting(
        "avtomatika-payloads",
        "Bucket of the files; it must exist.",
        "3 to 63 of the characters a-z 0-9 . -",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    )
    S3_REGION: str = setting(
        "us-east-1", "Region of the bucket.", "the name of a region", pattern=r"^[A-Za-z0-9-]{1,64}$"
    )
    S3_MAX_CONCURRENCY: int = setting(
        100,
        "How many transfers of one engine wait for the store at a time; further ones wait for their turn. A file that "
        "is written takes up to 40 MB of memory, one that is read 10 MB.",
        "a whole number from 1",
        ge=1,
    )
    S3_AUTO_CLEANUP: bool = setting(
        True,
        "Whether the files of a job are removed by themselves, in a bucket as in a directory: those that its result "
        "does not name when it has finished, the others with the job.",
        "true or false",
    )
