"""Large objects between this box and a GitLab project, by Git LFS basic transfers.

    fetch: cache? ─► batch (100 at a time) ─► parallel streams, resumed, verified ─► cache
    send:  hash ─► batch ─► stream what the server lacks ─► batch again: does it have them all?

The addresses that a batch names are visited only at our own origin or an allowed storage host, with the
headers it names and nothing of ours. Knows no commit and no path inside a repository.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import requests

from gitlab_jobs.errors import Denied, Forbidden, Missing, StoreError
from gitlab_jobs.gitlab_errors import RequestFailed
from gitlab_jobs.gitlab_session import GitLabSession
from gitlab_jobs.gitlab_transport import NoAuth, blocks
from gitlab_jobs.lfs import MAX_POINTER_BYTES, Pointer, parse_pointer
from gitlab_jobs.lfs_batch import Action, Operation, portions, request_batch
from gitlab_jobs.object_cache import BLOCK_BYTES, ObjectCache, PartialObject, WrongBytes, hash_file
from gitlab_jobs.store import ProjectRef, TransferProgress

logger = logging.getLogger(__name__)

PROGRESS_S = 1.0
MAX_POINTER_DEPTH = 3
WRONG_BYTES_TRIES = 3
SEND_ROUNDS = 3
"""Whatever answered an upload kindly, the server's own word counts: what it lacks is sent again."""
MISSING_TRIES = 2
MISSING_PAUSE_S = 0.5
"""A replicated server may not know yet what it was sent a moment ago."""
SLOWEST_DOWNLOAD_BYTES_S = 256 << 10
DOWNLOAD_EXTRA_S = 120.0
FINALISE_BYTES_S = 20 << 20
"""How fast a server is thought to store what it has received, at least, before it answers."""
NOT_TAKEN_OVER = frozenset({"transfer-encoding", "content-length", "content-type", "host"})

Done = TypeVar("Done")
Work = Callable[[threading.Event], Done]
"""Something done in a thread, which gives up when the event is set."""


@dataclass(slots=True)
class TransferCounts:
    """Bytes that crossed the network since the start."""

    downloaded_bytes: int = 0
    uploaded_bytes: int = 0


class LfsTransfer:
    """Safe to use from several threads; one per server, shared by all its projects."""

    def __init__(self, session: GitLabSession, cache: ObjectCache, threads: int = 4) -> None:
        self.cache = cache
        self.counts = TransferCounts()
        self._session = session
        self._threads = threads
        self._lock = threading.Lock()

    def fetch(
        self, project: ProjectRef, pointers: Collection[Pointer], progress: TransferProgress
    ) -> dict[str, Path]:
        """Local files by oid; what the server does not have, or has wrong, is left out."""
        found = self._fetch(project, sorted(set(pointers), key=str), progress)
        for _ in range(MAX_POINTER_DEPTH):
            nested = {oid: inner for oid, path in found.items() if (inner := _pointer_in(path))}
            if not nested:
                break
            behind = self._fetch(project, list(set(nested.values())), lambda _done, _total: None)
            for oid, inner in nested.items():
                del found[oid]
                if inner.oid in behind:
                    found[oid] = behind[inner.oid]
        return found

    def send(
        self, project: ProjectRef, files: Collection[Path], progress: TransferProgress
    ) -> dict[Path, Pointer]:
        """Upload what the server lacks; returns once it has confirmed every object."""
        pointers = {file: hash_file(file) for file in files}
        sources = {pointer: file for file, pointer in pointers.items()}
        ready = 0
        for portion in portions(list(sources)):
            actions = request_batch(self._session, project, "upload", portion).actions
            for _ in range(SEND_ROUNDS):
                work: dict[Pointer, Work[None]] = {
                    pointer: partial(
                        self._upload, project, pointer, sources[pointer], actions[pointer.oid]
                    )
                    for pointer in portion
                    if pointer.oid in actions
                }
                before = ready + len(portion) - len(work)
                self._in_parallel(work, partial(_tell, progress, before, len(sources)))
                actions = self._lacking(project, list(work))
                if not actions:
                    break
            else:
                raise RequestFailed(f"the server did not keep {len(actions)} objects", sent=True)
            ready += len(portion)
        progress(ready, len(sources))
        return pointers

    def _fetch(
        self, project: ProjectRef, pointers: Sequence[Pointer], progress: TransferProgress
    ) -> dict[str, Path]:
        found = {pointer.oid: path for pointer in pointers if (path := self.cache.find(pointer))}
        lacking = [pointer for pointer in pointers if pointer.oid not in found]
        for portion in portions(lacking):
            actions = self._locate(project, portion)
            work: dict[Pointer, Work[Path | None]] = {
                pointer: partial(self._download, project, pointer, actions[pointer.oid])
                for pointer in portion
                if pointer.oid in actions
            }
            done = self._in_parallel(work, partial(_tell, progress, len(found), len(pointers)))
            found |= {pointer.oid: path for pointer, path in done.items() if path is not None}
        progress(len(found), len(pointers))
        return found

    def _locate(self, project: ProjectRef, pointers: Sequence[Pointer]) -> Mapping[str, Action]:
        reply = request_batch(self._session, project, "download", pointers)
        actions = dict(reply.actions)
        for attempt in range(MISSING_TRIES):
            missing = [pointer for pointer in pointers if pointer.oid in reply.missing]
            if not missing or self._session.stop.wait(_jitter(attempt)):
                break
            reply = request_batch(self._session, project, "download", missing)
            actions.update(reply.actions)
        return actions

    def _download(
        self, project: ProjectRef, pointer: Pointer, action: Action, abandoned: threading.Event
    ) -> Path | None:
        """Fill the cache with one object; None if the server cannot produce it."""

        def fill(link: Action) -> Path:
            with self.cache.filling(pointer, abandoned) as unfinished:
                if unfinished is not None:
                    self._session.call(lambda: self._receive(unfinished, pointer, link, abandoned))
            return self.cache.path(pointer.oid)

        for _ in range(WRONG_BYTES_TRIES):
            try:
                return self._with_link(project, "download", pointer, action, fill)
            except WrongBytes as error:
                logger.warning("%s; %s", project.path, error)
            except Missing:
                break
        return None

    def _receive(
        self,
        unfinished: PartialObject,
        pointer: Pointer,
        link: Action,
        abandoned: threading.Event,
    ) -> None:
        """Receive what is lacking, from where an earlier attempt ended."""
        if unfinished.size < pointer.size:
            # Offsets count bytes of the object, so nothing on the way may compress it.
            headers = {**link.headers, "Accept-Encoding": "identity"}
            if unfinished.size:
                headers["Range"] = f"bytes={unfinished.size}-"
            with self._session.transport.open_stream(
                "GET", link.href, headers=headers, auth=NoAuth()
            ) as reply:
                if not _goes_on_at(reply, unfinished.size):
                    unfinished.restart()
                self._receive_body(reply, unfinished, pointer, abandoned)
        if unfinished.size < pointer.size:
            raise RequestFailed(f"object {pointer.oid} was cut off", sent=True)
        unfinished.complete()

    def _receive_body(
        self,
        reply: requests.Response,
        unfinished: PartialObject,
        pointer: Pointer,
        abandoned: threading.Event,
    ) -> None:
        allowed_s = pointer.size / SLOWEST_DOWNLOAD_BYTES_S + DOWNLOAD_EXTRA_S
        for block in blocks(reply, allowed_s):
            if abandoned.is_set():
                raise StoreError("the download was stopped")
            unfinished.write(block)
            with self._lock:
                self.counts.downloaded_bytes += len(block)

    def _upload(
        self,
        project: ProjectRef,
        pointer: Pointer,
        file: Path,
        action: Action,
        abandoned: threading.Event,
    ) -> None:
        def put(link: Action) -> None:
            self._session.call(lambda: self._put(file, pointer, link, abandoned))

        self._with_link(project, "upload", pointer, action, put)

    def _put(self, file: Path, pointer: Pointer, link: Action, abandoned: threading.Event) -> None:
        headers = {
            name: value
            for name, value in link.headers.items()
            if name.lower() not in NOT_TAKEN_OVER
        }
        # GitLab's front server takes in this type only; some proxies refuse bodies without a length.
        headers["Content-Type"] = "application/octet-stream"
        limits = self._session.options
        with file.open("rb") as source:
            body = _Body(source, pointer.size, abandoned)
            self._session.transport.put(
                link.href,
                data=body if pointer.size else b"",
                headers=headers,
                auth=NoAuth(),
                timeout=(
                    limits.transfer_read_s,
                    limits.transfer_read_s + pointer.size / FINALISE_BYTES_S,
                ),
            )
        with self._lock:
            self.counts.uploaded_bytes += pointer.size

    def _with_link(
        self,
        project: ProjectRef,
        operation: Operation,
        pointer: Pointer,
        action: Action,
        use: Callable[[Action], Done],
    ) -> Done:
        """Use a link; if it is refused or gone, it may have expired: ask for another one, once."""
        try:
            return use(action)
        except (Denied, Forbidden, Missing) as error:
            logger.info("asking again where object %s is: %s", pointer.oid, error)
            fresh = request_batch(self._session, project, operation, [pointer]).actions
            if pointer.oid not in fresh:
                raise
            return use(fresh[pointer.oid])

    def _lacking(self, project: ProjectRef, pointers: Sequence[Pointer]) -> Mapping[str, Action]:
        """Ask for the same uploads again: an object that is there gets no action."""
        actions: Mapping[str, Action] = {}
        for attempt in range(MISSING_TRIES + 1 if pointers else 0):
            actions = request_batch(self._session, project, "upload", pointers).actions
            if not actions or self._session.stop.wait(_jitter(attempt)):
                break
        return actions

    def _in_parallel(
        self, work: Mapping[Pointer, Work[Done]], tell: Callable[[int], None]
    ) -> dict[Pointer, Done]:
        """Run everything on a few threads; the first failure, or one of `tell`, stops the rest."""
        abandoned = threading.Event()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="lfs")
        try:
            futures = {pool.submit(do, abandoned): pointer for pointer, do in work.items()}
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=PROGRESS_S, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                tell(len(futures) - len(pending))
            return {pointer: future.result() for future, pointer in futures.items()}
        finally:
            abandoned.set()
            pool.shutdown(wait=True, cancel_futures=True)


class _Body:
    """A file as a request body of known length, which ends early when the transfer is abandoned."""

    def __init__(self, source: BinaryIO, size: int, abandoned: threading.Event) -> None:
        self._source = source
        self._size = size
        self._abandoned = abandoned

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(BLOCK_BYTES):
            yield block

    def read(self, size: int = -1) -> bytes:
        if self._abandoned.is_set():
            raise StoreError("the upload was stopped")
        return self._source.read(size)


def _tell(progress: TransferProgress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _goes_on_at(reply: requests.Response, size: int) -> bool:
    """Whether a reply continues what is here, rather than starting over."""
    if size == 0 or reply.status_code != requests.codes.partial_content:
        return size == 0
    return reply.headers.get("Content-Range", "").startswith(f"bytes {size}-")


def _pointer_in(path: Path) -> Pointer | None:
    """The pointer that an object is, if somebody uploaded a pointer as if it were the audio."""
    if path.stat().st_size > MAX_POINTER_BYTES:
        return None
    return parse_pointer(path.read_bytes())


def _jitter(attempt: int) -> float:
    return random.uniform(0, MISSING_PAUSE_S * 2**attempt)
