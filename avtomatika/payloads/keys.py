"""Names of files and the keys they are kept under: the one place that says which names are allowed."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from avtomatika.errors import PayloadNameError

ROOT = "jobs"
PAYLOADS = ".payloads"
"""The folder inside a job's files for documents that left the job by themselves; no file of a user stands there."""
MAX_KEY_BYTES = 1024  # what S3 takes
MAX_PART_BYTES = 255  # what file systems take
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def job_prefix(job_id: str) -> str:
    """Returns what the keys of a job's files begin with: ``jobs/{job_id}/``.

    Raises:
        PayloadNameError: the id cannot be a part of a key.
    """
    if not _JOB_ID.fullmatch(job_id):
        raise PayloadNameError(job_id, "is no id of a job")
    return f"{ROOT}/{job_id}/"


def job_key(job_id: str, name: str) -> str:
    """Returns the key of a file of a job.

    Args:
        job_id: whose file it is.
        name: of the file, with ``/`` between folders, such as ``out/report.csv``.

    Raises:
        PayloadNameError: the name would leave the job's files, or is none that every store can keep.
    """
    prefix = job_prefix(job_id)
    check_key(name)
    if name.split("/", 1)[0] == PAYLOADS:
        raise PayloadNameError(name, f"begins with '{PAYLOADS}', which is not for files of your own")
    check_key(prefix + name)
    return prefix + name


def job_folder(job_id: str, name: str) -> str:
    """Returns the prefix of a folder of a job's files; ``""`` and ``"/"`` name all of them.

    Args:
        job_id: whose files they are.
        name: of the folder; a slash at its end makes no difference.

    Raises:
        PayloadNameError: as ``job_key``.
    """
    if name in ("", "/"):
        return job_prefix(job_id)
    return job_key(job_id, name.removesuffix("/")) + "/"


def payload_key(job_id: str, digest: str) -> str:
    """Returns the key of a document that left its job.

    Args:
        job_id: whose document it is.
        digest: SHA-256 of its bytes, in hex.

    Raises:
        PayloadNameError: it is no such digest.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise PayloadNameError(digest, "is no SHA-256 in hex")
    return f"{job_prefix(job_id)}{PAYLOADS}/{digest}"


def name_of(job_id: str, key: str) -> str:
    """Returns the name that a key of a job's file was made from.

    Raises:
        PayloadNameError: it is the key of something else.
    """
    name = key.removeprefix(job_prefix(job_id))
    if name == key or not name:
        raise PayloadNameError(key, f"is no file of job '{job_id}'")
    return name


def check_key(key: str) -> None:
    """Refuses what leads out of its root, or what some store, proxy or terminal would read differently.

    Raises:
        PayloadNameError: the key is refused; it says why.
    """
    if not key:
        raise PayloadNameError(key, "is empty")
    if fault := _fault(key):
        raise PayloadNameError(key, fault)
    # Nothing here decodes a name, but a proxy or gateway before a bucket may, even twice.
    decoded = key
    for _ in range(3):
        try:
            decoded = unquote(decoded, errors="strict")
        except UnicodeDecodeError:  # some readers take an overlong form of '.' for one
            raise PayloadNameError(key, "has percent-encoded bytes that are no text") from None
        if any(part in (".", "..") for part in re.split(r"[/\\]", decoded)):
            raise PayloadNameError(key, "has a part that reads as '.' or '..' once it is percent-decoded")


def check_prefix(prefix: str) -> None:
    """Refuses what is no folder: a prefix ends with ``/``, and what stands before is a key.

    Raises:
        PayloadNameError: the prefix is refused; it says why.
    """
    if not prefix.endswith("/"):
        raise PayloadNameError(prefix, "does not end with '/'")
    check_key(prefix.removesuffix("/"))


def _fault(key: str) -> str:
    """Returns what is wrong with a key, or an empty text."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "is no Unicode text"
    if size > MAX_KEY_BYTES:
        return f"has {size:,} bytes, and at most {MAX_KEY_BYTES:,} are allowed"
    if key.startswith("/"):
        return "begins with '/'; name files relative to the job"
    if "\\" in key:
        return "has a '\\'; write '/' between folders"
    if any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in key):
        return "has a character that cannot be seen"
    for part in key.split("/"):
        if not part:
            return "has an empty part; write one '/' between folders and none at the end"
        if not part.strip("."):
            return f"has the part '{part}'"
        if len(part.encode()) > MAX_PART_BYTES:
            return f"has a part of more than {MAX_PART_BYTES} bytes"
        if part != part.strip() or part.endswith("."):
            return "has a part that begins or ends with a space, or ends with a dot"
    return ""
