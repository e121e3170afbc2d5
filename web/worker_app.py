"""The worker's endpoints: health, capacity, uploads, jobs, results.

    GET /v1/ping                          capabilities
    PUT /v1/jobs/{id}   {"uploadId", …}   202, 409 AT_CAPACITY; the same id twice is one job
    GET /v1/jobs?ids=a,b&since=7&wait=5   those jobs as soon as anything has changed, and the capabilities
    GET /v1/jobs/{id}/result?format=srt
    POST /v1/jobs/{id}/cancel

Says what the engine does; decides nothing itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from web.auth import Bearer
from web.body_limit import BodyLimit
from web.capacity import Capacity
from web.changes import Changes
from web.engine import AtCapacity, Engine
from web.job_views import LONGEST_WAIT_S, result_of, settled, shown
from web.problems import Refused, answer_problems
from web.protocol import ID, JobRequest, Status
from web.spool import Spool
from web.store import Job, Store
from web.uploads import UploadApi

RETRY_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class WorkerApi:
    """The endpoints, on what they tell about."""

    store: Store
    spool: Spool
    engine: Engine
    changes: Changes
    capacity: Capacity
    bearer: Bearer
    registry: CollectorRegistry

    def app(self) -> FastAPI:
        """The worker's application."""
        app = FastAPI(title="Scriptorium worker", version=self.capacity.version, docs_url=None)
        answer_problems(app)
        app.add_middleware(BodyLimit)
        for path in ("/livez", "/health"):
            app.add_api_route(path, self.health, methods=["GET"])
        app.add_api_route("/readyz", self.ready, methods=["GET"])
        app.add_api_route("/metrics", self.metrics, methods=["GET"])
        app.add_api_route("/v1/ping", self.ping, methods=["GET"])
        app.include_router(UploadApi(self.spool, self.bearer).router("/v1/uploads"))
        app.include_router(self._jobs())
        return app

    def _jobs(self) -> APIRouter:
        router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(self.bearer)])
        router.add_api_route("", self.jobs, methods=["GET"])
        router.add_api_route("/{job_id}", self.create, methods=["PUT"], status_code=202)
        router.add_api_route("/{job_id}", self.job, methods=["GET"])
        router.add_api_route("/{job_id}/result", self.result, methods=["GET"])
        router.add_api_route("/{job_id}/cancel", self.cancel, methods=["POST"], status_code=202)
        return router

    def health(self) -> dict[str, Any]:
        """The process lives; answers from memory."""
        return {"status": self.engine.status, "checks": {"model": self.engine.is_ready}}

    def ready(self, response: Response) -> dict[str, Any]:
        """Whether a job would be taken, now or when one of the others ends."""
        if not self.engine.is_ready or self.engine.is_draining:
            response.status_code = 503
        return {"status": self.engine.status}

    def metrics(self) -> Response:
        """For Prometheus."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    def ping(self, request: Request) -> dict[str, Any]:
        """What this worker can do, and how much of it is free."""
        if self.capacity.is_public and not self.bearer.is_valid(request.headers):
            return self.capacity.shown_to_strangers()
        self.bearer(request)
        return self.capacity.shown()

    async def jobs(self, ids: str = "", since: int = -1, wait: float = 0.0) -> dict[str, Any]:
        """Some jobs and the capabilities, as soon as anything is newer than `since`."""
        if since == self.changes.number:
            await self.changes.after(since, min(wait, LONGEST_WAIT_S))
        number = self.changes.number
        found = [self.store.job(job_id) for job_id in ids.split(",") if job_id]
        return {
            "number": number,
            "jobs": [self._shown(job) for job in found if job is not None],
            "capabilities": self.capacity.shown(),
        }

    def create(self, job_id: str, wanted: JobRequest) -> dict[str, Any]:
        """Begin a job; the same request under the same id is the same job."""
        if not ID.fullmatch(job_id):
            raise Refused(422, "INVALID", "not an id", field="id")
        request = wanted.model_dump_json(by_alias=True)
        job = self.store.job(job_id) or self._begin(_new_job(job_id, wanted, request))
        if job.request != request:
            raise Refused(422, "ID_REUSED", "this id belongs to another request")
        return self._shown(job)

    async def job(self, job_id: str, wait: float = 0.0) -> dict[str, Any]:
        """One job, at once or when it is final."""
        return self._shown(await settled(self.store, self.changes, self._known(job_id), wait))

    def result(self, job_id: str, format: str | None = None) -> Response:
        """What came out."""
        return result_of(self._known(job_id), self.engine.result_path(job_id), format)

    def cancel(self, job_id: str, response: Response) -> dict[str, Any]:
        """End a job; one that has ended stays as it is."""
        self._known(job_id)
        if not self.engine.cancel(job_id):
            response.status_code = 200
        return self._shown(self._known(job_id))

    def _begin(self, job: Job) -> Job:
        wanted = JobRequest.model_validate_json(job.request)
        if not self.capacity.has_model(wanted.options.model):
            raise Refused(422, "MODEL_UNAVAILABLE", f"the model here is {self.capacity.model}")
        if wanted.options.diarization and not self.engine.can_diarize:
            raise Refused(422, "FEATURE_UNAVAILABLE", "nobody here names speakers (--diarization)")
        upload = self.spool.whole(Bearer.OWNER, wanted.upload_id)
        try:
            return self.engine.accept(job, self.spool.path(upload.id))
        except AtCapacity as error:
            words = "no free place: wait, or raise WORKER_MAX_CONCURRENT_JOBS"
            raise Refused(409, "AT_CAPACITY", words, retry_after_s=RETRY_AFTER_S) from error

    def _known(self, job_id: str) -> Job:
        job = self.store.job(job_id)
        if job is None:
            raise Refused(404, "UNKNOWN_JOB", "there is no such job")
        return job

    def _shown(self, job: Job) -> dict[str, Any]:
        return shown(job, {"workerJobId": job.id, "gpu": self.capacity.has_gpu})


def _new_job(job_id: str, wanted: JobRequest, request: str) -> Job:
    now = time.time()
    return Job(
        id=job_id,
        owner=Bearer.OWNER,
        key=job_id,
        request=request,
        name=wanted.name,
        upload_id=wanted.upload_id,
        status=Status.RUNNING,
        created_at=now,
        started_at=now,
        stage="queued",
    )
