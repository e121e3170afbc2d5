"""Large objects on this box by their SHA-256, downloaded once and shared by all jobs and workers.

    <root>/aa/bb/<oid>        whole, verified, never changed again
    <root>/partial/<oid>      under way; kept after an interruption, so that the rest can be fetched

A writer holds a lock on the partial file, so two workers never fetch the same object twice, and the
finished file appears by rename. Knows no transport: whoever fills an object writes the bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from gitlab_jobs.crashpoints import reach
from gitlab_jobs.errors import StoreError
from gitlab_jobs.lfs import Pointer

BLOCK_BYTES = 1 << 20
LOCK_POLL_S = 0.1
FILE_MODE = 0o600


class WrongBytes(StoreError):
    """What was received is not what its SHA-256 and size promise."""


class ObjectCache:
    """Safe to use from several threads and processes that share a file system."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._partials = root / "partial"

    def path(self, oid: str) -> Path:
        """Where an object is, or would be."""
        return self._root / oid[:2] / oid[2:4] / oid

    def find(self, pointer: Pointer) -> Path | None:
        """The verified file of an object, if it is here; counts as a use of it."""
        path = self.path(pointer.oid)
        try:
            if path.stat().st_size != pointer.size:
                return None
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    @contextmanager
    def filling(self, pointer: Pointer, stop: threading.Event) -> Iterator[PartialObject | None]:
        """Lock an object for writing; None if somebody else completed it meanwhile.

        Raises:
            StoreError: `stop` was set while another writer had the lock.
        """
        while self.find(pointer) is None:
            partial = self._lock(pointer, stop)
            if partial is not None:
                with partial:
                    yield partial
                return
        yield None

    def add(self, content: bytes) -> Pointer:
        """Keep bytes that came by another way than a download."""
        pointer = Pointer(hashlib.sha256(content).hexdigest(), len(content))
        with self.filling(pointer, threading.Event()) as partial:
            if partial is not None:
                partial.restart()
                partial.write(content)
                partial.complete()
        return pointer

    def prune(self, max_bytes: int, keep: Collection[str] = ()) -> int:
        """Delete the least recently used objects beyond a size; returns the bytes freed."""
        found = sorted(
            ((path.stat(), path) for path in self._root.glob("??/??/*")),
            key=lambda item: item[0].st_mtime,
            reverse=True,
        )
        used = freed = 0
        for status, path in found:
            used += status.st_size
            if used > max_bytes and path.name not in keep:
                path.unlink(missing_ok=True)
                freed += status.st_size
        return freed

    def _lock(self, pointer: Pointer, stop: threading.Event) -> PartialObject | None:
        """Lock the partial file; None if it was completed or replaced while we waited."""
        self._partials.mkdir(parents=True, exist_ok=True)
        path = self._partials / pointer.oid
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            while not _try_lock(descriptor):
                if stop.wait(LOCK_POLL_S):
                    raise StoreError(f"stopped while another download of {pointer.oid} went on")
            if not _is_same_file(descriptor, path):
                return None
            if self.find(pointer) is not None:
                path.unlink()
                return None
            taken, descriptor = descriptor, -1
            return PartialObject(taken, path, pointer, self.path(pointer.oid))
        finally:
            if descriptor >= 0:
                os.close(descriptor)


class PartialObject:
    """An object being written; closing it releases the lock and keeps what is there."""

    def __init__(self, descriptor: int, path: Path, pointer: Pointer, target: Path) -> None:
        self._file = os.fdopen(descriptor, "r+b")
        self._path = path
        self._target = target
        self._pointer = pointer
        self._digest = hashlib.sha256()
        self._size = 0
        self._take_up()

    @property
    def size(self) -> int:
        """Bytes that are here already: where a resumed download goes on."""
        return self._size

    def restart(self) -> None:
        """Forget everything received so far."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, block: bytes) -> None:
        """Append received bytes; raises `WrongBytes` as soon as there are too many."""
        self._size += len(block)
        if self._size > self._pointer.size:
            self.restart()
            raise WrongBytes(
                f"object {self._pointer.oid} is longer than {self._pointer.size} bytes"
            )
        self._digest.update(block)
        self._file.write(block)

    def complete(self) -> Path:
        """Verify and publish the object; raises `WrongBytes` and forgets the bytes if they differ."""
        if self._size != self._pointer.size:
            raise WrongBytes(
                f"object {self._pointer.oid} has {self._size} of {self._pointer.size} bytes"
            )
        if self._digest.hexdigest() != self._pointer.oid:
            self.restart()
            raise WrongBytes(f"object {self._pointer.oid} has other bytes than its name says")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._target.parent.mkdir(parents=True, exist_ok=True)
        reach("cache.written")
        self._path.replace(self._target)
        reach("cache.filled")
        return self._target

    def __enter__(self) -> PartialObject:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def _take_up(self) -> None:
        """Hash what an earlier, interrupted download left."""
        while block := self._file.read(BLOCK_BYTES):
            self._digest.update(block)
            self._size += len(block)
        if self._size > self._pointer.size:
            self.restart()


def hash_file(path: Path) -> Pointer:
    """The pointer of a local file."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return Pointer(digest.hexdigest(), size)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(descriptor: int, path: Path) -> bool:
    """Whether the locked file still has its name (it loses it when it is completed)."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
