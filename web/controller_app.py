"""The controller's endpoints: sessions, uploads, jobs, how the worker is. Knows jobs; the dispatcher moves them.

    POST /api/session                     {"session", "csrfToken"} and a cookie
    POST /api/uploads, PUT, GET           see `web.uploads`
    POST /api/jobs   Idempotency-Key: …   the same key is the same job
    GET  /api/jobs/{id}?wait=30           at once, or when it has ended
    GET  /api/jobs/{id}/result?format=vtt
    POST /api/jobs/{id}/cancel
    GET  /api/runtime                     worker and queue
    GET  /                                the same as a page

Somebody else's job is as unknown as one that never was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from web.auth import COOKIE, Sessions, new_id
from web.body_limit import BodyLimit
from web.changes import Changes
from web.dispatch import WAITING, Dispatcher
from web.job_views import result_of, settled, shown
from web.page import LATEST, StatusPage
from web.problems import Refused, answer_problems
from web.protocol import JobRequest, Status, program_version, rfc3339
from web.spool import Spool
from web.store import Job, Store
from web.uploads import UploadApi

MOST_LISTED = 1000


@dataclass(frozen=True, slots=True)
class ControllerApi:
    """The endpoints, on what they tell about."""

    store: Store
    spool: Spool
    changes: Changes
    sessions: Sessions
    results: Path
    dispatcher: Dispatcher | None
    """None where remote work is switched off."""
    registry: CollectorRegistry
    pages: StatusPage = field(default_factory=StatusPage)

    def app(self) -> FastAPI:
        """The controller's application."""
        app = FastAPI(title="Scriptorium controller", version=program_version(), docs_url=None)
        answer_problems(app)
        app.add_middleware(BodyLimit)
        for path in ("/livez", "/readyz", "/health"):
            app.add_api_route(path, self.health, methods=["GET"])
        app.add_api_route("/metrics", self.metrics, methods=["GET"])
        for path, endpoint in (("/", self.page), ("/status.css", self.pages.style)):
            app.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False)
        app.add_api_route("/api/session", self.begin_session, methods=["POST"], status_code=201)
        app.add_api_route("/api/runtime", self.runtime, methods=["GET"])
        app.include_router(UploadApi(self.spool, self.sessions).router("/api/uploads"))
        app.include_router(self._jobs())
        return app

    def _jobs(self) -> APIRouter:
        router = APIRouter(prefix="/api/jobs", tags=["jobs"])
        router.add_api_route("", self.create, methods=["POST"], status_code=201)
        router.add_api_route("", self.jobs, methods=["GET"])
        router.add_api_route("/{job_id}", self.job, methods=["GET"])
        router.add_api_route("/{job_id}/result", self.result, methods=["GET"])
        router.add_api_route("/{job_id}/cancel", self.cancel, methods=["POST"])
        return router

    def health(self) -> dict[str, Any]:
        """The process lives; answers from memory."""
        return {"status": "READY", "checks": {"worker": self._is_connected}}

    def metrics(self) -> Response:
        """For Prometheus."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    def page(self) -> Response:
        """For people."""
        return self.pages.page(self.runtime(), self.store.latest_jobs(LATEST))

    def begin_session(self, response: Response) -> dict[str, str]:
        """Let somebody in, who then sees their own jobs."""
        token, csrf = self.sessions.begin()
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return {"session": token, "csrfToken": csrf}

    def runtime(self) -> dict[str, Any]:
        """How the worker is, and how much waits for it."""
        counts = self.store.count_jobs()
        queue = {str(status): counts.get(status, 0) for status in Status}
        return {"remoteWorker": self._worker(), "queue": queue}

    def create(
        self,
        wanted: JobRequest,
        request: Request,
        response: Response,
        idempotency_key: Annotated[str | None, Header(max_length=128)] = None,
    ) -> dict[str, Any]:
        """Queue a job, or find it queued already."""
        owner = self.sessions(request)
        if self.dispatcher is None:
            raise Refused(503, "REMOTE_WORKER_OFF", "REMOTE_WORKER_MODE is off")
        self.spool.whole(owner, wanted.upload_id)
        job = Job(
            id=new_id("jb"),
            owner=owner,
            key=idempotency_key or new_id("key"),
            request=wanted.model_dump_json(by_alias=True),
            name=wanted.name,
            upload_id=wanted.upload_id,
            status=Status.QUEUED_REMOTE,
            created_at=time.time(),
            stage="queued",
            error_message=WAITING,
        )
        there = self.store.add_job(job)
        if there is None:
            self.dispatcher.wake()
            return self._shown(job)
        if there.request != job.request:
            raise Refused(422, "KEY_REUSED", "this Idempotency-Key belongs to another request")
        response.status_code = 200
        return self._shown(there)

    def jobs(self, request: Request, most: int = 100) -> dict[str, Any]:
        """The newest jobs of a session."""
        found = self.store.latest_jobs(min(most, MOST_LISTED), self.sessions(request))
        return {"jobs": [self._shown(job) for job in found]}

    async def job(self, job_id: str, request: Request, wait: float = 0.0) -> dict[str, Any]:
        """One job, at once or when it is final."""
        job = self._known(job_id, request)
        return self._shown(await settled(self.store, self.changes, job, wait))

    def result(self, job_id: str, request: Request, format: str | None = None) -> Response:
        """What came out."""
        job = self._known(job_id, request)
        return result_of(job, self.result_path(job.id), format)

    def cancel(self, job_id: str, request: Request) -> dict[str, Any]:
        """End a job; one that has ended stays as it is."""
        job = self._known(job_id, request)
        if self.dispatcher is not None:
            self.dispatcher.cancel(job)
        return self._shown(self._known(job_id, request))

    def result_path(self, job_id: str) -> Path:
        """Where a job's result is."""
        return self.results / f"{job_id}.json"

    def _known(self, job_id: str, request: Request) -> Job:
        job = self.store.job(job_id)
        if job is None or job.owner != self.sessions(request):
            raise Refused(404, "UNKNOWN_JOB", "there is no such job")
        return job

    @property
    def _is_connected(self) -> bool:
        return self.dispatcher is not None and self.dispatcher.contact.is_connected

    def _worker(self) -> dict[str, Any]:
        if self.dispatcher is None:
            return {"connected": False, "mode": "off", "workerCapabilities": None}
        contact = self.dispatcher.contact
        return {
            "connected": contact.is_connected,
            "mode": "required",
            "lastSeenAt": rfc3339(contact.seen_at),
            "lastErrorCode": contact.error_code,
            "lastErrorMessage": contact.error_message,
            "workerCapabilities": contact.capabilities,
        }

    def _shown(self, job: Job) -> dict[str, Any]:
        capabilities = self.dispatcher.contact.capabilities if self.dispatcher else None
        worker = {
            "workerJobId": job.worker_job_id,
            "lastSeenAt": rfc3339(job.last_seen_at),
            "gpu": (capabilities or {}).get("gpu"),
        }
        return shown(job, worker if job.worker_job_id else None)
