"""Recordings through a controller's worker instead of this machine's: sent, followed, and written here as always.

    asset ─► the controller knows its job? ─► follow it
                 └─ no ─► upload ─► job (same key, same job) ─► follow ─► result ─► write

A stop leaves what is under way to the controller; the next run follows it. Threads work, the caller's thread notes:
only it may touch the state.
"""

from __future__ import annotations

import json
import queue
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from batch.flow import Heard, Outcome, Warned, Write
from batch.peer import Answered, PeerError, Stopped
from batch.recordings.fetch import FetchFailed, local_path
from batch.recordings.packing import Pack
from batch.recordings.source import Asset
from batch.remote.controller import FINAL, Controller
from batch.side_by_side import side_by_side
from batch.state.record import Record

DEFAULT_PARALLEL = 4
"""Enough to keep a worker of one place busy while the next recordings travel."""
UNREACHABLE = "REMOTE_WORKER_UNREACHABLE"
DISPATCH_FAILED = "REMOTE_DISPATCH_FAILED"
_FOR_GOOD = frozenset({413, 422})
"""Refusals that another run would get as well: too large, no such model."""
_HIDDEN = frozenset({"RUNNER_INTERRUPTED"})
"""Codes of the worker that would mean something else here."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What every job of a run asks for."""

    options: Mapping[str, Any]
    options_hash: str


class Keeping(Protocol):
    """What is known about files; asked and told in the caller's thread alone."""

    @property
    def records(self) -> Mapping[str, Record]:
        """By name."""

    def put(self, name: str, record: Record) -> None:
        """Note something new."""


class RemoteFlow:
    """Follows many recordings at a time."""

    def __init__(
        self,
        controller: Controller,
        wanted: Wanted,
        write: Write,
        scratch: Path,
        keeping: Keeping,
        parallel: int,
    ) -> None:
        """Describe the flow.

        Args:
            controller: open.
            wanted: the options.
            write: turns a transcript into files.
            scratch: for what is on its way.
            keeping: gets uploads and jobs as soon as they are known.
            parallel: recordings at a time; 0 for a good number.
        """
        self._controller = controller
        self._wanted = wanted
        self._write = write
        self._scratch = scratch
        self._keeping = keeping
        self._parallel = parallel or DEFAULT_PARALLEL
        self._notes: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self._is_stopping = False

    def run(
        self,
        packs: Iterable[Pack],
        on_begin: Callable[[Pack], None],
        should_stop: Callable[[], bool],
    ) -> Iterator[Outcome]:
        """Yield each recording's outcome as it comes.

        Args:
            packs: of one recording each.
            on_begin: called in this thread before a pack starts.
            should_stop: asked often; once true, what is under way is left to the controller.
        """

        def start(pack: Pack) -> Future[Outcome | None]:
            on_begin(pack)
            (asset,) = pack.assets
            return followers.submit(self._carry, asset, self._keeping.records[asset.name])

        def is_stopping() -> bool:
            self._is_stopping = should_stop() or self._is_stopping
            return self._is_stopping

        with ThreadPoolExecutor(self._parallel, "follower") as followers:
            for ended in side_by_side(packs, start, self._parallel, is_stopping):
                self._note()
                yield from filter(None, (future.result() for future in ended))

    def _note(self) -> None:
        while not self._notes.empty():
            name, news = self._notes.get()
            self._keeping.put(name, replace(self._keeping.records[name], **news))

    def _carry(self, asset: Asset, record: Record) -> Outcome | None:
        """Take one recording through; None if it was left to the controller."""
        begun = time.monotonic()
        try:
            outcome = self._outcome(asset, record)
        except Stopped:
            return None
        except FetchFailed as error:
            outcome = Outcome(asset, code=error.code, message=str(error))
        except Answered as error:
            code = error.code if error.status in _FOR_GOOD else DISPATCH_FAILED
            outcome = Outcome(asset, code=code, message=str(error))
        except PeerError as error:
            if self._is_stopping:
                return None
            outcome = Outcome(asset, code=UNREACHABLE, message=str(error))
        except OSError as error:
            outcome = Outcome(asset, code="INPUT_MISSING", message=str(error))
        return replace(outcome, elapsed_s=round(time.monotonic() - begun, 3))

    def _outcome(self, asset: Asset, record: Record) -> Outcome:
        job = self._controller.find(record.job_id) if record.job_id else None
        if job is None:
            job = self._create(asset, record)
        while job["status"] not in FINAL:
            if self._is_stopping:
                raise Stopped
            job = self._controller.wait(job["id"])
        if job["status"] != "complete":
            told = job["workerErrorCode"]
            code = job["lastErrorCode"] if told is None or told in _HIDDEN else told
            return Outcome(asset, code=code, message=job["lastErrorMessage"] or job["status"])
        return self._written(asset, job)

    def _create(self, asset: Asset, record: Record) -> dict[str, Any]:
        folder = self._scratch / f"{time.monotonic_ns()}"
        folder.mkdir()
        path = local_path(asset, folder, 0)
        if not path.stat().st_size:
            raise FetchFailed("AUDIO_UNREADABLE", "it is empty")
        sent = self._controller.send(path, asset.name)
        self._notes.put((asset.name, {"upload_id": sent.upload_id}))
        if path.parent == folder:
            path.unlink()
        key = f"{asset.name} {self._wanted.options_hash} {record.attempts}"
        job = self._controller.create(sent, asset.name, self._wanted.options, key)
        self._notes.put((asset.name, {"job_id": job["id"]}))
        return job

    def _written(self, asset: Asset, job: Mapping[str, Any]) -> Outcome:
        result = json.loads(self._controller.result(job["id"]))
        folder = self._scratch / job["id"]
        folder.mkdir(exist_ok=True)
        outcome = self._write(asset, heard(result, folder))
        shutil.rmtree(folder)
        return replace(outcome, audio_s=job["result"]["audioSeconds"])


def heard(result: Mapping[str, Any], folder: Path) -> Heard:
    """A result as the stages of this machine would have left it."""
    transcript, turns = folder / "transcript.json", folder / "turns.json"
    transcript.write_text(json.dumps(result["transcript"]), encoding="utf-8")
    if "turns" in result:
        turns.write_text(json.dumps(result["turns"]), encoding="utf-8")
    return Heard(
        transcript=transcript,
        engine=result["engine"],
        turns=turns if "turns" in result else None,
        warnings=tuple(Warned(**warned) for warned in result["warnings"]),
    )
