"""`logs.txt`: the story of one attempt as a person reads it, small enough to keep in git for ever.

Takes the file that the child's output went to (already masked), puts a heading and an ending around it,
and keeps head and tail. Knows no store; never makes an empty file, which would break the editor's sync.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

MAX_BYTES = 1_000_000
HEAD_SHARE = 0.25

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def compose_log(
    heading: Sequence[str], output: Path, ending: Sequence[str], max_bytes: int = MAX_BYTES
) -> bytes:
    """The whole log as UTF-8 text without control characters, at most `max_bytes` long."""
    body = _clean(output.read_bytes() if output.exists() else b"") or "(it printed nothing)"
    frame = "\n".join([*heading, ""]) + "\n" + "\n".join(["", *ending]) + "\n"
    room = max_bytes - len(frame.encode("utf-8")) - 200
    text = "\n".join([*heading, "", _shortened(body, max(0, room)), "", *ending]) + "\n"
    return text.encode("utf-8")


def _clean(raw: bytes) -> str:
    text = raw.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", _ESCAPES.sub("", text)).strip("\n")


def _shortened(text: str, room: int) -> str:
    raw = text.encode("utf-8")
    if len(raw) <= room:
        return text
    head, tail = int(room * HEAD_SHARE), room - int(room * HEAD_SHARE)
    start = raw[:head].decode("utf-8", errors="ignore").rpartition("\n")[0]
    end = raw[len(raw) - tail :].decode("utf-8", errors="ignore").partition("\n")[2]
    left_out = len(raw) - len(start.encode()) - len(end.encode())
    return f"{start}\n\n[… {left_out} bytes left out …]\n\n{end}"
