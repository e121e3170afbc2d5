"""The worker as the controller sees it. One try per call: who calls has a loop of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch.peer import Answered, Peer
from web.protocol import JobRequest


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a worker tells."""

    number: int
    """Of its changes; the next look waits until there is another one."""
    jobs: dict[str, dict[str, Any]]
    """Those that were asked for and that it knows."""
    capabilities: dict[str, Any]

    @property
    def free(self) -> int:
        """Jobs that it would take now."""
        return int(self.capabilities["freeSlots"])


class WorkerClient:
    """One worker; safe from any thread."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._is_closed = False
        self._peer = Peer(
            url,
            {"Authorization": f"Bearer {token}"},
            connections=16,
            is_stopping=lambda: self._is_closed,
        )

    def look(self, job_ids: Sequence[str], since: int, wait_s: float) -> Look:
        """See these jobs, at once or as soon as anything is newer than `since`.

        Raises:
            PeerError: it does not answer, or not to us.
        """
        path = f"/v1/jobs?ids={','.join(job_ids)}&since={since}&wait={wait_s:g}"
        told = self._peer.ask("GET", path, wait_s=wait_s)
        jobs = {job["id"]: job for job in told["jobs"]}
        return Look(told["number"], jobs, told["capabilities"])

    def create(self, job_id: str, request: JobRequest, recording: Path) -> None:
        """Send a recording and begin a job; doing so twice changes nothing.

        Raises:
            PeerError: it does not answer, refuses, or has no place (`AT_CAPACITY`).
            OSError: the recording is gone.
        """
        sent = self._peer.send("/v1/uploads", recording, request.name)
        body = request.model_dump(by_alias=True) | {"uploadId": sent.upload_id}
        self._peer.ask("PUT", f"/v1/jobs/{job_id}", body)

    def knows(self, job_id: str) -> bool:
        """Whether a job has arrived there.

        Raises:
            PeerError: it does not answer.
        """
        return job_id in self.look([job_id], -1, 0.0).jobs

    def cancel(self, job_id: str) -> None:
        """End a job; one that it does not know is as good as ended.

        Raises:
            PeerError: it does not answer.
        """
        try:
            self._peer.ask("POST", f"/v1/jobs/{job_id}/cancel")
        except Answered as error:
            if error.status != 404:
                raise

    def result(self, job_id: str) -> bytes:
        """What came out of a job.

        Raises:
            PeerError: it does not answer, or has none.
        """
        return self._peer.fetch(f"/v1/jobs/{job_id}/result")

    def close(self) -> None:
        """Hang up; a recording on its way ends with its part."""
        self._is_closed = True
        self._peer.close()
