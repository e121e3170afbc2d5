"""The state of a batch on disk: a JSON checkpoint, and an append-only journal of what came after it.

    put(name, record) ─► batch_state.journal (one line, at once)
                              └─ every 500 changes or 30 s, and at the end ─► batch_state.json, journal emptied

A change costs one line, however many files there are: the checkpoint waits until its own cost is small beside
the work since the last one. A lock on the journal keeps a second runner out. One thread writes.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from batch.errors import BadData, CannotCreate, Locked
from batch.state.record import Record

SCHEMA = "batch-state"
VERSION = 2
_NOT_KEPT = frozenset({"options", "updatedAt", "session", "csrfToken"})
"""Written anew, or, as secrets of version 1, not any more: see `batch.remote.session_file`."""
CHECKPOINT_CHANGES = 500
CHECKPOINT_S = 30.0
CHECKPOINT_SHARE = 0.05
"""Of all time at most goes into checkpoints."""


class StateFile:
    """An open state: locked, in memory, and on disk as of the last change."""

    def __init__(self, path: Path) -> None:
        """Open or create a state.

        Raises:
            Locked: another runner has it.
            BadData: it is damaged.
            CannotCreate: it cannot be written.
        """
        self.path = path
        self._journal_path = path.with_suffix(".journal")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._journal = _open_private(self._journal_path, os.O_APPEND | os.O_RDWR, "a+b")
        except OSError as error:
            raise CannotCreate(f"cannot write the state {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._journal.close()
            raise Locked(
                f"another runner works on {path}", "wait for it, or give this run its own --state"
            ) from error
        self._rest: dict[str, Any] = {}
        self.records: dict[str, Record] = {}
        self.options: Mapping[str, Any] = {}
        self._changes = 0
        self._checkpoint_took_s = 0.0
        try:
            self._load()
        except BaseException:
            self._journal.close()
            raise
        self._checkpoint_at = time.monotonic()

    def __enter__(self) -> Self:
        """Nothing to do: opening is in the constructor."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write a last checkpoint and let go of the lock."""
        self.checkpoint()
        self._journal.close()

    def put(self, name: str, record: Record) -> None:
        """Note a file's new state; with the system before this returns."""
        self.records[name] = record
        line = json.dumps([name, record.to_json()], ensure_ascii=False, separators=(",", ":"))
        self._journal.write(line.encode() + b"\n")
        self._journal.flush()
        self._changes += 1
        if self._is_checkpoint_due():
            self.checkpoint()

    def checkpoint(self) -> None:
        """Write everything into the JSON file and empty the journal."""
        begun = time.monotonic()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        content = {
            **self._rest,
            "schema": SCHEMA,
            "version": VERSION,
            "createdAt": self._rest.get("createdAt", now),
            "updatedAt": now,
            "options": dict(self.options),
            "files": {name: record.to_json() for name, record in self.records.items()},
        }
        self._rest["createdAt"] = content["createdAt"]
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with _open_private(temporary, os.O_TRUNC | os.O_WRONLY, "wb") as file:
            file.write(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        # A crash before this line only makes the next start read the same changes again.
        self._journal.truncate(0)
        self._changes = 0
        self._checkpoint_at = time.monotonic()
        self._checkpoint_took_s = self._checkpoint_at - begun

    def _is_checkpoint_due(self) -> bool:
        age_s = time.monotonic() - self._checkpoint_at
        is_wanted = self._changes >= CHECKPOINT_CHANGES or age_s >= CHECKPOINT_S
        return is_wanted and self._checkpoint_took_s <= CHECKPOINT_SHARE * age_s

    def _load(self) -> None:
        self._rest, self.records = _load(self.path, self._journal_path)


def read_state(path: Path) -> dict[str, Record]:
    """The records of a state, journal included; writes nothing and takes no lock.

    Raises:
        BadData: it is damaged.
    """
    return _load(path, path.with_suffix(".journal"))[1]


def _load(path: Path, journal_path: Path) -> tuple[dict[str, Any], dict[str, Record]]:
    """What stands in the checkpoint beside the files, and all records as of the last change."""
    content = _read(path) if path.exists() else {}
    entries = list(content.pop("files", {}).items())
    if journal_path.exists():
        entries += _changes(journal_path.read_bytes().split(b"\n"), journal_path)
    try:
        records = {name: Record.parse(fields) for name, fields in entries}
    except (ValueError, TypeError, AttributeError) as error:
        raise BadData(
            f"{path} is no state of a batch: {error}", "move it away to start anew"
        ) from error
    return {k: v for k, v in content.items() if k not in _NOT_KEPT}, records


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read: {error}", "move it away to start anew") from error
    known = isinstance(content, dict) and content.get("version", 1) in (1, VERSION)
    if not known or not isinstance(content.get("files", {}), dict):
        raise BadData(f"{path} is no state of a batch, or of a newer program")
    return dict(content)


def _changes(lines: list[bytes], path: Path) -> list[tuple[str, Any]]:
    """The journal's entries; a last line that was cut off by a crash never happened."""
    changes = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            name, fields = json.loads(line)
        except ValueError as error:
            raise BadData(f"{path}, line {number}, is damaged: {error}") from error
        changes.append((name, fields))
    return changes


def _open_private(path: Path, flags: int, mode: str) -> BinaryIO:
    """Open for this user alone: names of recordings are nobody else's business."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return cast(BinaryIO, os.fdopen(descriptor, mode))
