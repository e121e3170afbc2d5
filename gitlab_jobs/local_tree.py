"""A directory that changes as a whole: several files at once, all or none, also across a crash.

Writers take turns by a lock on the directory itself. A change is first written down in a journal
outside the project's own files (in `.git/`, or in `.scriptorium/` where there is no git), then carried
out by renames; whoever takes the lock next finishes what a crash interrupted. A file that a person
edited after the crash is left as the person wants it.

Knows no job and no pointer; `local_store` does. Programs that ignore the lock (an editor) can see a
change half done for an instant, and a save of theirs in that instant can be overwritten.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gitlab_jobs.errors import UnsafePath
from gitlab_jobs.git_objects import blob_id

logger = logging.getLogger(__name__)

STATE_FOLDER = ".scriptorium"
TEMPORARY_SUFFIX = ".scriptorium-tmp"


@dataclass(frozen=True, slots=True)
class Effect:
    """What one path becomes: `content` None removes it; `before` is the blob id it must still have."""

    path: str
    before: str | None
    content: bytes | None


class LocalTree:
    """The files below one root, by POSIX path relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.git_dir = find_git_dir(self.root)
        self.state_dir = (
            self.root / STATE_FOLDER if self.git_dir is None else self.git_dir / "scriptorium"
        )
        self._journal = self.state_dir / "journal.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out; begins by finishing what a crashed one left."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._recover()
            yield
        finally:
            os.close(descriptor)

    def local_path(self, path: str) -> Path:
        """Where a repository path is on this disk; raises `UnsafePath` if it leads outside."""
        parts = path.split("/")
        if any(part in {"", ".", ".."} for part in parts) or parts[0] == ".git" or "\0" in path:
            raise UnsafePath(f"the path {path!r} is not inside the project")
        local = self.root.joinpath(*parts)
        if not local.resolve().is_relative_to(self.root):
            raise UnsafePath(f"the path {path!r} leads outside the project through a link")
        return local

    def read(self, path: str) -> bytes | None:
        """The content of a file; None if there is no such file."""
        try:
            return self.local_path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def apply(self, effects: list[Effect]) -> None:
        """Carry out all effects, or none; call with the lock held."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        _write_durably(self._journal, _journal_text(effects))
        self._finish(effects)

    def _recover(self) -> None:
        try:
            effects = _read_journal(self._journal.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        logger.warning("finishing a change to %s that was interrupted", self.root)
        self._finish(effects)

    def _finish(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._carry_out(effect)
        self._journal.unlink()

    def _carry_out(self, effect: Effect) -> None:
        local = self.local_path(effect.path)
        current = self.read(effect.path)
        if current == effect.content:
            return
        if (None if current is None else blob_id(current)) != effect.before:
            logger.warning("left %s alone: somebody edited it meanwhile", effect.path)
        elif effect.content is None:
            local.unlink()
            self._remove_empty_folders(local.parent)
        else:
            _write_durably(local, effect.content)

    def _remove_empty_folders(self, folder: Path) -> None:
        while folder != self.root and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def find_git_dir(root: Path) -> Path | None:
    """The repository a checkout belongs to, also for a linked worktree; None in a plain folder."""
    found = root / ".git"
    if found.is_file():
        target = found.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        found = root / target
    if not found.is_dir():
        return None
    common = found / "commondir"
    if common.is_file():
        found = found / common.read_text(encoding="utf-8").strip()
    return found.resolve()


def _write_durably(path: Path, content: bytes) -> None:
    """Replace a file in one step that survives a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        shutil.copymode(path, temporary)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _journal_text(effects: list[Effect]) -> bytes:
    entries = [
        {
            "path": effect.path,
            "before": effect.before,
            "content": None
            if effect.content is None
            else base64.b64encode(effect.content).decode("ascii"),
        }
        for effect in effects
    ]
    return json.dumps(entries).encode()


def _read_journal(text: str) -> list[Effect]:
    entries: list[Mapping[str, str | None]] = json.loads(text)
    return [
        Effect(
            str(entry["path"]),
            entry["before"],
            None if entry["content"] is None else base64.b64decode(entry["content"]),
        )
        for entry in entries
    ]
