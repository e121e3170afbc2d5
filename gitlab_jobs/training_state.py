"""A training's state as one file that travels between boxes, and the directory it comes from.

    training/step-00000042/     whole: its manifest.json names the SHA-256 of every other file ┐
    training/best-00000040/     the best model so far, whole as well                           ├─► one tar
    training/fingerprint, revision, training_metrics.csv                                                 ┘

The directory belongs to another process, which lets whole checkpoints appear by rename and never changes
them afterwards; it may delete them at any time. All files are opened before the first one is checked, so
what is packed is of one piece. Knows no repository, no lease and no model. An archive may come from
anybody: only plain files with expected names are taken out, and only if every one verifies.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import stat
import tarfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from gitlab_jobs.errors import ScriptoriumError

HOME = "training"
"""The directory's name among the job's own files."""
CURVE = "training_metrics.csv"
REVISION = "revision"
"""The project's commit that the training learns from."""
NOTES = ("fingerprint", REVISION, CURVE)
MANIFEST = "manifest.json"
STATE, BEST = "step", "best"
FORMAT = 1

_ABOUT = "about.json"
_MEMBER = re.compile(rf"(?:{STATE}|{BEST})-\d{{1,12}}(?:/(?!\.)[\w.-]{{1,100}}){{1,4}}", re.ASCII)
_CHECKPOINT = re.compile(r"([a-z]+)-(\d{1,12})", re.ASCII)
_MAX_MEMBERS = 1000
_MAX_NOTE_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 20
_TRIES = 3


class StateRefused(ScriptoriumError):
    """An archive that is damaged, or not the state of this job; the message says why."""


@dataclass(frozen=True, slots=True)
class About:
    """Whose state an archive holds, and who saved it."""

    job_id: str
    worker_id: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Found:
    """The newest state of a training: its checkpoint's name, and roughly what packing it takes."""

    name: str
    size: int


_ABOUT_JSON: TypeAdapter[About] = TypeAdapter(About)


def find_state(home: Path) -> Found | None:
    """Look, without reading a byte of it, whether there is a state to go on from."""
    for path in _newest_first(home, STATE):
        size = sum(_size(each) for each in (path, *_newest_first(home, BEST)[:1]))
        if size:
            return Found(path.name, size)
    return None


def pack(home: Path, about: About, target: Path, go_on: Callable[[], None]) -> str | None:
    """Write the newest state that verifies into a file.

    Args:
        home: the training's directory.
        about: whose it is.
        target: the archive to write.
        go_on: called between blocks; may raise to stop.

    Returns:
        The name of the checkpoint, or None if there is none that can be read.
    """
    for _ in range(_TRIES):
        # A checkpoint that is pruned while we open it makes room for a newer one: look again.
        with ExitStack() as stack:
            state = _open_newest(home, STATE, stack)
            best = _open_newest(home, BEST, stack)
            if state is None or (best is None and _newest_first(home, BEST)):
                continue
            files = {**state, **(best or {})}
            notes = {name: _note(home / name) for name in NOTES}
            _write(target, about, files, notes, go_on)
            return next(iter(state)).partition("/")[0]
    return None


def unpack(archive: Path, home: Path, job_id: str) -> About:
    """Put a packed state in the place of `home`, whole or not at all.

    Raises:
        StateRefused: it is damaged, of another job, or no such archive at all.
    """
    part = home.with_name(f".{home.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        about = _extract(archive, part)
        if about.job_id != job_id:
            raise StateRefused(f"it belongs to job {about.job_id}")
        if not _newest_first(part, STATE):
            raise StateRefused("it holds no state")
        for path in (*_newest_first(part, STATE), *_newest_first(part, BEST)):
            with ExitStack() as stack:
                if _open_whole(path, stack) is None:
                    raise StateRefused(f"{path.name} is damaged")
        shutil.rmtree(home, ignore_errors=True)
        part.replace(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return about


def read_curve(home: Path) -> str | None:
    """The loss curve so far, whole lines only; None before its first row."""
    text = _note(home / CURVE).decode("ascii", "replace")
    return text if text.count("\n") > 1 else None


def _newest_first(home: Path, kind: str) -> list[Path]:
    """Checkpoints of a kind that have their name, which they get last."""
    try:
        names = [entry.name for entry in os.scandir(home) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    found = [(int(match[2]), name) for name in names if (match := _CHECKPOINT.fullmatch(name))]
    return [home / name for _, name in sorted(found, reverse=True) if name.startswith(f"{kind}-")]


def _size(directory: Path) -> int:
    try:
        return sum(file.stat().st_size for file in directory.rglob("*"))
    except OSError:
        return 0


def _note(path: Path) -> bytes:
    """A small file that may grow while it is read, up to its last whole line; empty if there is none."""
    try:
        with _open(path) as file:
            content = file.read(_MAX_NOTE_BYTES)
    except OSError:
        return b""
    return content[: content.rfind(b"\n") + 1] if path.suffix == ".csv" else content


def _open_newest(home: Path, kind: str, stack: ExitStack) -> dict[str, io.BufferedReader] | None:
    for path in _newest_first(home, kind):
        files = _open_whole(path, stack)
        if files is not None:
            return files
    return None


def _open_whole(directory: Path, stack: ExitStack) -> dict[str, io.BufferedReader] | None:
    """Open every file of a checkpoint by its name in an archive; None if it is not as it should be."""
    try:
        manifest = stack.enter_context(_open(directory / MANIFEST))
        expected = {str(name): str(sha) for name, sha in json.load(manifest)["files"].items()}
        opened = {name: stack.enter_context(_open(directory / name)) for name in sorted(expected)}
        if any(_digest(file) != expected[name] for name, file in opened.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    files = {f"{directory.name}/{name}": file for name, file in opened.items()}
    files[f"{directory.name}/{MANIFEST}"] = manifest
    return files if all(_MEMBER.fullmatch(name) for name in files) else None


def _open(path: Path) -> io.BufferedReader:
    """A plain file, and never what a link leads to: the directory is another process's."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path.name} is no plain file")
    return file


def _digest(file: io.BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _write(
    target: Path,
    about: About,
    files: Mapping[str, io.BufferedReader],
    notes: Mapping[str, bytes],
    go_on: Callable[[], None],
) -> None:
    """The same state makes the same bytes, so that a server that has them is sent nothing."""
    with (
        target.open("wb") as out,
        tarfile.TarFile(fileobj=out, mode="w", copybufsize=_BLOCK_BYTES) as archive,
    ):
        for name, content in {_ABOUT: _ABOUT_JSON.dump_json(about), **notes}.items():
            if content:
                archive.addfile(_member(name, len(content)), io.BytesIO(content))
        for name, file in files.items():
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            archive.addfile(_member(name, size), _Stoppable(file, go_on))


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


class _Stoppable:
    """A file whose reading can be stopped between blocks."""

    def __init__(self, file: io.BufferedReader, go_on: Callable[[], None]) -> None:
        self._file = file
        self._go_on = go_on

    def read(self, size: int = -1, /) -> bytes:
        self._go_on()
        return self._file.read(size)


def _extract(archive: Path, folder: Path) -> About:
    about: About | None = None
    try:
        with tarfile.open(archive, "r:") as found:
            for number, member in enumerate(found):
                content = found.extractfile(member) if member.isreg() else None
                if content is None or member.issparse() or number >= _MAX_MEMBERS:
                    raise StateRefused(f"it holds {member.name!r}, which is no plain file of ours")
                if member.name == _ABOUT:
                    about = _ABOUT_JSON.validate_json(content.read(_BLOCK_BYTES))
                else:
                    _keep(content, member.name, folder)
    except (tarfile.TarError, ValidationError, OSError, EOFError) as error:
        raise StateRefused(f"it cannot be read: {error}") from error
    if about is None or about.format != FORMAT:
        raise StateRefused("it is of another kind")
    return about


def _keep(content: IO[bytes], name: str, folder: Path) -> None:
    if name not in NOTES and not _MEMBER.fullmatch(name):
        raise StateRefused(f"it holds {name!r}, which has no business there")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as out:
        shutil.copyfileobj(content, out, _BLOCK_BYTES)
