"""What goes wrong in a test itself, as told from what goes wrong in the blueprint that it tests."""

from __future__ import annotations

from avtomatika.errors import AvtomatikaError


class TestingError(AvtomatikaError):
    """The test asks for something that cannot be; the message says what to write instead."""

    __test__ = False  # pytest takes every class of a test file whose name begins so for tests
    code = "testing_error"


class NotReachedError(TestingError, AssertionError):
    """A job is not where the test expects it, and nothing more happens without the test's doing.

    Args:
        job: what the job is and where it stands.
        wanted: where it was expected.
        reasons: what it waits for, and what would make it go on.
    """

    code = "not_reached"

    def __init__(self, job: str, wanted: str, reasons: list[str]) -> None:
        super().__init__("\n- ".join([f"{job} has not reached {wanted}.", *reasons]))
