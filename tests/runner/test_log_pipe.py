"""Lines, progress bars, sizes: what becomes of the bytes that a child writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.log_pipe import MAX_LINE_BYTES, BoundedFile, ChildLog, LineCutter


def cut(*chunks: bytes, now: float = 0.0) -> list[bytes]:
    """Feed chunks at one moment and close."""
    cutter = LineCutter()
    lines = [line for chunk in chunks for line in cutter.feed(chunk, now)]
    return [*lines, *cutter.close()]


@given(
    st.lists(st.binary(max_size=20).filter(lambda line: not set(line) & {10, 13}), min_size=1),
    st.data(),
)
def test_lines_are_the_same_whatever_the_cuts(lines: list[bytes], data: st.DataObject) -> None:
    """With both kinds of line ends."""
    ends = [data.draw(st.sampled_from([b"\n", b"\r\n"])) for _ in lines]
    whole = b"".join(line + end for line, end in zip(lines, ends, strict=True))
    position = data.draw(st.integers(0, len(whole)))

    assert cut(whole[:position], whole[position:]) == lines


def test_a_progress_bar_shows_one_state_a_second_and_its_last() -> None:
    """Not the thousands in between."""
    cutter = LineCutter()
    lines = [
        line for step in range(1000) for line in cutter.feed(b"\rstep %d" % step, now=step / 100)
    ]
    lines += cutter.feed(b"\ndone\n", now=10.0)

    assert lines[0] == b"step 0"
    assert lines[-2:] == [b"step 999", b"done"]
    assert 10 <= len(lines) <= 13


def test_a_bar_that_never_ends_keeps_its_last_state() -> None:
    """The child died in the middle of it."""
    assert cut(b"1%\r", b"2%\r", b"3%\r")[-1] == b"3%"


def test_overlong_lines_are_cut_after_masking(tmp_path: Path) -> None:
    """A secret at the cut is masked as a whole."""
    secret = b"hunter2hunter2"
    log = ChildLog(tmp_path / "log", lambda line: line.replace(secret, b"[MASKED]"), 10**6)

    log.feed(b"x" * (MAX_LINE_BYTES - 5) + secret + b"y" * 10**5 + b"\nnext\n", 0.0)
    log.close()

    assert len(log.last_lines[0]) == MAX_LINE_BYTES
    assert "hunter" not in (tmp_path / "log").read_text()
    assert log.last_lines[1] == "next"


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    """A binary on stdout does not break the log."""
    log = ChildLog(tmp_path / "log", bytes, 10**6)
    log.feed(b"caf\xe9\n", 0.0)
    log.close()

    assert log.last_lines == ("caf\ufffd",)


@pytest.mark.parametrize("count", [10, 100, 1000, 20_000])
def test_a_bounded_file_keeps_head_and_tail_and_says_how_much_is_missing(
    tmp_path: Path, count: int
) -> None:
    """Whole lines only, and the account is exact."""
    path = tmp_path / "deep" / "log"
    file = BoundedFile(path, 4000)
    written = 0
    for number in range(count):
        line = b"line %06d\n" % number
        file.write(line)
        written += len(line)
        assert path.stat().st_size <= 4000
    file.close()

    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if line.startswith(b"line ")]
    assert lines[0] == b"line 000000\n"
    assert lines[-1] == b"line %06d\n" % (count - 1)
    assert len(lines) - len(kept) == (1 if written > 4000 else 0)
    assert sum(map(len, kept)) + file.dropped_bytes == written


def test_a_full_disk_ends_the_log_but_nothing_else(tmp_path: Path) -> None:
    """/dev/full is a disk without room."""
    log = ChildLog(Path("/dev/full"), bytes, 10**6)
    for number in range(3):
        log.feed(b"line %d\n" % number, 0.0)
    log.close()

    assert log.last_lines == ("line 0", "line 1", "line 2")
