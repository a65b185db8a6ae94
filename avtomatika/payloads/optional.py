"""Loads the backend of buckets, which needs a package that not every installation has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avtomatika.errors import ConfigError

if TYPE_CHECKING:
    from avtomatika.payloads.s3 import S3Payloads


def load_s3() -> type[S3Payloads]:
    """Returns the backend that ``S3_ENDPOINT_URL`` asks for.

    Raises:
        ConfigError: its package is not installed.
    """
    try:
        from avtomatika.payloads.s3 import S3Payloads  # noqa: PLC0415 - imported where it is chosen
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"S3_ENDPOINT_URL is set, but a package is not installed here ({error.name}). Run "
            "pip install 'avtomatika[s3]', or unset it."
        ) from error
    return S3Payloads
