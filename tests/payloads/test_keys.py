"""Names of files: which are allowed."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avtomatika.errors import PayloadNameError
from avtomatika.payloads.keys import check_prefix, job_folder, job_key, job_prefix, name_of, payload_key

REFUSED = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    ".",
    "./x",
    "...",
    "a/",
    "a//b",
    "..\\x",
    "C:\\x",
    "\\\\host\\x",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a\u202eb",
    "a\u2028b",
    "\ufeffa",
    "a ",
    " a",
    "a.",
    "\ud800",
    "%2e%2e/x",
    "%2E%2E%2Fx",
    "%252e%252e%252fx",
    "..%2fx",
    "..%5cx",
    "a/%2e./x",
    "%c0%ae%c0%ae/x",
    "%ff",
    ".payloads/x",
    ".payloads",
    "x" * 256,
    "/".join(["x" * 100] * 11),
]


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_name_that_leads_out_or_reads_differently_is_refused(name: str) -> None:
    """A name that some store, proxy or terminal could take for another one is none; the error shows it safely."""
    with pytest.raises(PayloadNameError) as caught:
        job_key("j1", name)

    assert caught.value.name == name
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a/../b", "has the part '..'"),
        (".", "has the part '.'"),
        ("/etc", "begins with '/'"),
        ("a//b", "an empty part"),
    ],
)
def test_refusal_says_what_is_wrong_with_the_name(name: str, reason: str) -> None:
    """The fault that a person would name first is the one that is told."""
    with pytest.raises(PayloadNameError) as caught:
        job_key("j1", name)

    assert reason in caught.value.reason


@pytest.mark.parametrize(
    "name", ["a", "a/b.txt", ".hidden", "a..b", "a...txt", "..a", "100%", "50%2f", "ü/日本", "a b"]
)
def test_ordinary_name_is_taken_as_it_is(name: str) -> None:
    """Nothing is changed in a name that is allowed."""
    assert job_key("j1", name) == f"jobs/j1/{name}"
    assert name_of("j1", f"jobs/j1/{name}") == name


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "a.b", "x" * 129, "ü"])
def test_job_id_that_is_none_is_refused(job_id: str) -> None:
    """The id is as much a part of the key as the name."""
    with pytest.raises(PayloadNameError):
        job_prefix(job_id)


def test_folder_is_all_files_or_a_name_with_slash() -> None:
    """A folder's prefix ends with a slash; without a name it is all files of the job."""
    assert job_folder("j1", "") == job_folder("j1", "/") == "jobs/j1/"
    assert job_folder("j1", "a/b") == job_folder("j1", "a/b/") == "jobs/j1/a/b/"
    with pytest.raises(PayloadNameError):
        job_folder("j1", "../")


def test_document_has_its_digest_for_a_name() -> None:
    """Documents that left the job stand under their digest, and under nothing else."""
    assert payload_key("j1", "0" * 64) == f"jobs/j1/.payloads/{'0' * 64}"
    with pytest.raises(PayloadNameError):
        payload_key("j1", "../x")


def test_prefix_without_slash_is_refused() -> None:
    """``jobs/j1`` would also mean ``jobs/j10``."""
    check_prefix("jobs/j1/")
    for prefix in ("jobs/j1", "", "/", "jobs/../"):
        with pytest.raises(PayloadNameError):
            check_prefix(prefix)


def test_key_of_another_job_has_no_name_here() -> None:
    """A key is of the job that it begins with."""
    for key in ("jobs/j2/x", "jobs/j1/", "x"):
        with pytest.raises(PayloadNameError):
            name_of("j1", key)


@given(st.text(alphabet=st.sampled_from("./\\%2efa5c\0 -"), min_size=1, max_size=20))
@example("..%2f")
def test_allowed_name_never_leads_out_however_often_it_is_decoded(name: str) -> None:
    """Whatever gets through stays below the job, for readers that decode none, once or twice."""
    try:
        key = job_key("j1", name)
    except PayloadNameError:
        return

    for times in range(3):
        read = key
        for _ in range(times):
            read = unquote(read)
        assert ".." not in read.replace("\\", "/").split("/")
        assert read.startswith("jobs/j1/")
    assert unquote(quote(key)) == key
