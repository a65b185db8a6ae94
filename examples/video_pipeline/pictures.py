"""Moving pictures with nothing but the standard library: a film is made, cut into scenes, cleaned, and shown.

Films are Y4M files of grey pictures, which ffmpeg and mpv play.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

WIDTH, HEIGHT, RATE = 64, 48, 25
"""Points of a picture, and pictures of a second."""
_HEAD = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 Cmono\n".encode()
_FRAME = b"FRAME\n"
_SIZE = WIDTH * HEIGHT
_JUMP = 18.0
"""How much two pictures differ on the average, in steps of grey, where one scene ends and the next begins."""


def shoot(scene: int, length: int, seed: int) -> Iterator[bytes]:
    """Yields the pictures of a scene: a bar that wanders over a slope of light, with the grain of an old film."""
    chance = random.Random(f"{seed}-{scene}")
    base = (40, 130, 75, 165)[scene % 4]
    grain = [bytes(chance.randrange(24) for _ in range(_SIZE)) for _ in range(5)]
    for number in range(length):
        left = (number * 2 + scene * 11) % (WIDTH - 8)
        row = bytes(base + x // 4 + (40 if left <= x < left + 8 else 0) for x in range(WIDTH))
        yield bytes(light + speck for light, speck in zip(row * HEIGHT, grain[(number * 3 + scene) % 5], strict=True))


def pack(frames: Iterable[bytes]) -> bytes:
    """Returns a film as a file."""
    return _HEAD + b"".join(_FRAME + frame for frame in frames)


def unpack(film: bytes) -> list[bytes]:
    """Returns the pictures of a film.

    Raises:
        ValueError: the file is not of this kind.
    """
    step = len(_FRAME) + _SIZE
    count, rest = divmod(len(film) - len(_HEAD), step)
    if not film.startswith(_HEAD) or rest:
        raise ValueError(f"a grey Y4M film of {WIDTH} x {HEIGHT} points was expected")
    starts = range(len(_HEAD) + len(_FRAME), len(film), step)
    return [film[start : start + _SIZE] for start in starts][:count]


def difference(one: bytes, other: bytes) -> float:
    """Returns how much two pictures differ, in steps of grey of an average point; looks at every fourth one."""
    return sum(abs(a - b) for a, b in zip(one[::4], other[::4], strict=True)) / len(one[::4])


def find_scenes(frames: Sequence[bytes]) -> list[tuple[int, int]]:
    """Returns where scenes begin, and where they have ended."""
    cuts = [number for number, (one, other) in enumerate(pairwise(frames), 1) if difference(one, other) > _JUMP]
    return list(pairwise([0, *cuts, len(frames)]))


def clean(frames: Sequence[bytes]) -> list[bytes]:
    """Returns the pictures with less grain: each is the average of itself and its neighbours in time."""
    padded = [frames[0], *frames, frames[-1]]
    return [
        bytes((a + 2 * b + c) // 4 for a, b, c in zip(*padded[number : number + 3], strict=True))
        for number in range(len(frames))
    ]


def grain(frames: Sequence[bytes]) -> float:
    """Returns how restless a scene is: the mean difference of pictures that follow each other."""
    found = [difference(one, other) for one, other in pairwise(frames)]
    return sum(found) / len(found) if found else 0.0


def png(frame: bytes) -> bytes:
    """Returns a picture as a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + frame[start : start + WIDTH] for start in range(0, _SIZE, WIDTH))
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
