"""A handler that "trains" with whole checkpoints and a curve, and goes on from what it finds.

Unknown keys of the manifest entry: after epoch `wait_after` it waits for the file `gate`; a state is
`state_bytes` long. Its result tells after which epoch it `began`.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Stage
from gitlab_jobs.job import JobResult
from pipelines.training.checkpoint import CheckpointStore
from pipelines.training.metrics_csv import MetricsLog

logger = logging.getLogger(__name__)


def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
    """Save a state after every epoch."""
    job, home = job_context.job, callbacks.get_training_dir()
    states, best = CheckpointStore(home, "step", keep=2), CheckpointStore(home, "best", keep=1)
    curve = MetricsLog(home / "training_metrics.csv", ["loss"])
    newest = states.latest()
    began = int(newest.name.removeprefix("step-")) if newest else 0
    curve.cut_back(began)
    callbacks.heartbeat(epochs_completed=began)
    with callbacks.stage(Stage.TRAIN):
        for epoch in range(began + 1, (job.epochs or 0) + 1):
            content = f"after epoch {epoch} ".encode() * (
                1 + int(job.extra.get("state_bytes", 0)) // 14
            )
            curve.append(epoch, {"loss": 1 / epoch})
            best.save(epoch, lambda folder, made=content: write(folder, made))
            states.save(epoch, lambda folder, made=content: write(folder, made))
            callbacks.heartbeat(epochs_completed=epoch, message=f"Training epoch {epoch}")
            logger.info("Training epoch %d", epoch)
            while epoch == job.extra.get("wait_after") and not Path(job.extra["gate"]).exists():
                callbacks.heartbeat()
                time.sleep(0.02)
    callbacks.upload_files_batch({job_context.metrics_path: curve.path})
    return JobResult(epochs_completed=job.epochs, facts={"began": began})


def write(folder: Path, content: bytes) -> None:
    """Two files, one of which could not lie in a job's folder under its own name."""
    (folder / "weights").write_bytes(content)
    (folder / "state.json").write_text("{}", encoding="utf-8")
