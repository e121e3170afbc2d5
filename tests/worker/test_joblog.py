"""`logs.txt`: head and tail, clean text, a bound, and never nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitlab_jobs.joblog import MAX_BYTES, compose_log


def composed(folder: Path, output: bytes, max_bytes: int = MAX_BYTES) -> str:
    """The log of a child that printed this."""
    path = folder / "output"
    path.write_bytes(output)
    return compose_log(["Heading"], path, ["Ending"], max_bytes).decode("utf-8")


def test_it_has_a_heading_the_output_and_an_ending(tmp_path: Path) -> None:
    """In this order."""
    assert composed(tmp_path, b"one\ntwo\n") == "Heading\n\none\ntwo\n\nEnding\n"


@pytest.mark.parametrize("output", [b"", b"\n\n", b"\x00\x1b[0m"])
def test_a_job_without_output_says_so(tmp_path: Path, output: bytes) -> None:
    """An empty file would break the editor's sync."""
    assert "(it printed nothing)" in composed(tmp_path, output)


def test_a_missing_output_is_no_accident(tmp_path: Path) -> None:
    """The child may have died before its log was made."""
    assert b"printed nothing" in compose_log(["H"], tmp_path / "nowhere", ["E"])


def test_colours_bells_and_progress_bars_are_gone(tmp_path: Path) -> None:
    """Only text is left."""
    output = b"\x1b[31mred\x1b[0m\a \x00end\r 10%\r 20%\r\ndone\x7f\xc2\x9b\n"
    assert composed(tmp_path, output) == "Heading\n\nred end\n 10%\n 20%\ndone\n\nEnding\n"


def test_of_a_long_log_head_and_tail_are_kept(tmp_path: Path) -> None:
    """Whole lines, with the number of bytes in between."""
    lines = [f"line {number}" for number in range(10_000)]
    text = composed(tmp_path, "\n".join(lines).encode(), 5000)
    kept = [line for line in text.splitlines() if line.startswith("line")]
    assert len(text) <= 5000
    assert kept[0] == "line 0"
    assert kept[-1] == "line 9999"
    assert set(kept) <= set(lines)
    assert "bytes left out" in text


@given(output=st.binary(max_size=4000), limit=st.integers(400, 1000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_whatever_was_printed_it_is_clean_bounded_and_framed(
    tmp_path: Path, output: bytes, limit: int
) -> None:
    """For any bytes at all."""
    text = composed(tmp_path, output, limit)
    assert len(text.encode()) <= limit
    assert text.startswith("Heading\n")
    assert text.endswith("\nEnding\n")
    assert not [
        char for char in text if (ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160
    ]
