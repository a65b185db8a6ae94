"""The ETags that S3 gives: the MD5 of what was stored, or of the MD5s of its parts."""

from __future__ import annotations

import hashlib
import re


class PartDigest:
    """Computes the ETag of a file that is stored in parts of a fixed size.

    Args:
        part_bytes: of every part but the last; 0 if the file is stored in one piece.

    Source:
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """

    def __init__(self, part_bytes: int = 0) -> None:
        self._part_bytes = part_bytes
        self._parts: list[bytes] = []
        self._digest = _md5()
        self._in_part = 0
        self.size = 0
        """The bytes so far."""

    def update(self, block: bytes) -> None:
        """Takes the next bytes of the file."""
        self.size += len(block)
        if not self._part_bytes:
            self._digest.update(block)
            return
        view = memoryview(block)
        while view:
            if self._in_part == self._part_bytes:
                self._end_part()
            taken = view[: self._part_bytes - self._in_part]
            self._digest.update(taken)
            self._in_part += len(taken)
            view = view[len(taken) :]

    def etag(self) -> str:
        """Returns the ETag, without quotes. Nothing may be taken afterwards."""
        if not self._part_bytes:
            return self._digest.hexdigest()
        self._end_part()
        return f"{_md5(b''.join(self._parts)).hexdigest()}-{len(self._parts)}"

    def _end_part(self) -> None:
        self._parts.append(self._digest.digest())
        self._digest, self._in_part = _md5(), 0


def parts_of(etag: str) -> int | None:
    """Returns in how many parts a file was stored, 0 for one piece; None if the ETag does not look like S3's."""
    match = re.fullmatch(r"[0-9a-f]{32}(?:-([0-9]+))?", etag)
    if match is None:
        return None
    return int(match[1] or 0)


def _md5(data: bytes = b"") -> hashlib._Hash:
    # Against damage, not against people; some systems allow it for nothing else.
    return hashlib.md5(data, usedforsecurity=False)
