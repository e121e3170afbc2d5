"""The controller as a batch sees it: a session, uploads, jobs, results. Knows no files but those it sends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from batch.peer import Answered, Peer, Sent
from batch.remote.session_file import Session, read_session, write_session

FINAL = frozenset({"complete", "failed", "canceled"})
WAIT_S = 5.0
"""How long one look at a job waits for its end: as long as a stop may have to wait."""


class Controller:
    """One controller, in one session; safe from any thread once it is open."""

    def __init__(self, url: str, session_path: Path, *, is_stopping: Callable[[], bool]) -> None:
        """Describe it; `open` speaks to it.

        Args:
            url: its root.
            session_path: the file with the session's secrets.
            is_stopping: whether nothing should be tried any more.
        """
        self._path = session_path
        self._peer = Peer(url, {}, connections=64, is_stopping=is_stopping)

    def be_patient(self, patience_s: float) -> None:
        """How long a controller that does not answer is tried again from now on."""
        self._peer.patience_s = patience_s

    def open(self) -> None:
        """Go on with the session of an earlier run, or begin one.

        Raises:
            PeerError: the controller does not answer, or lets nobody in.
        """
        kept = read_session(self._path)
        if kept is not None and self._is_known(kept):
            return
        told = self._peer.ask("POST", "/api/session")
        session = Session(told["session"], told["csrfToken"])
        write_session(self._path, session)
        self._peer.headers = session.headers

    def runtime(self) -> dict[str, Any]:
        """How the controller and its worker are."""
        return self._peer.ask("GET", "/api/runtime")

    def send(self, path: Path, name: str) -> Sent:
        """Have a recording there."""
        return self._peer.send("/api/uploads", path, name)

    def create(self, sent: Sent, name: str, options: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Ask for a transcript; the same key is the same job, however often it is asked for.

        Args:
            sent: the recording.
            name: as the user knows it.
            options: how to listen.
            key: this program's name for the request.
        """
        body = {"uploadId": sent.upload_id, "name": name, "options": dict(options)}
        digest = hashlib.sha256(f"{key} {sent.sha256}".encode()).hexdigest()
        return self._peer.ask("POST", "/api/jobs", body, Idempotency_Key=digest)

    def find(self, job_id: str) -> dict[str, Any] | None:
        """A job, or None if the controller does not know it."""
        try:
            return self._peer.ask("GET", f"/api/jobs/{job_id}")
        except Answered as error:
            if error.status == 404:
                return None
            raise

    def cancel(self, job_id: str) -> bool:
        """End a job; whether it is canceled now, and was not done or unknown."""
        try:
            told = self._peer.ask("POST", f"/api/jobs/{job_id}/cancel")
        except Answered as error:
            if error.status == 404:
                return False
            raise
        return bool(told["status"] == "canceled")

    def wait(self, job_id: str) -> dict[str, Any]:
        """A job when it has ended, or after a while."""
        return self._peer.ask("GET", f"/api/jobs/{job_id}?wait={WAIT_S:g}", wait_s=WAIT_S)

    def result(self, job_id: str) -> bytes:
        """What came out of a job."""
        return self._peer.fetch(f"/api/jobs/{job_id}/result")

    def close(self) -> None:
        """Hang up."""
        self._peer.close()

    def _is_known(self, session: Session) -> bool:
        self._peer.headers = session.headers
        try:
            self._peer.ask("GET", "/api/jobs?most=1")
        except Answered as error:
            if error.status == 401:
                self._peer.headers = {}
                return False
            raise
        return True
