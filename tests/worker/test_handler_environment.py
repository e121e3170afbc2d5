"""The bench for authors of handlers, and the how-to that shows it: its code is run here."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from support.codex_builders import as_bytes, cell, document, recorded
from support.daemon import HANDLERS, ROOT, Daemon

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Purpose, Stage
from gitlab_jobs.codex.changes import SetText
from gitlab_jobs.errors import InvalidJob, JobError, UnsafePath
from gitlab_jobs.job import CancelReason, Job, JobResult, JobType, Mode, ModelSpec
from gitlab_jobs.testing import HandlerEnvironment
from gitlab_jobs.yaml_text import dump_yaml

HOW_TO = ROOT / "docs/how-to/write-a-handler.md"
NOTEBOOK = "files/target/MAT.codex"
JOB = Job(
    job_id="try",
    job_type=JobType.ASR,
    mode=Mode.INFERENCE,
    model=ModelSpec(type="Patient"),
    epochs=3,
)


@pytest.fixture
def project_dir(tmp_path: Path) -> Path:
    """A checkout with one verse that waits for its text and one that has it."""
    root = tmp_path / "checkout"
    files = {
        NOTEBOOK: as_bytes(document(recorded("1"), cell("2", "In the beginning"))),
        ".project/attachments/pointers/MAT/audio-1.webm": b"sound",
        "metadata.json": b"{}",
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


@pytest.fixture
def environment(project_dir: Path, tmp_path: Path) -> HandlerEnvironment:
    """The bench on that checkout."""
    return HandlerEnvironment(project_dir, work_dir=tmp_path / "work")


def patient() -> ModuleType:
    """The handler that trains, as a module."""
    module = ModuleType("patient")
    exec((HANDLERS / "asr/patient/training.py").read_text(encoding="utf-8"), module.__dict__)
    return module


def test_a_module_is_run_and_its_files_are_committed(
    environment: HandlerEnvironment, project_dir: Path
) -> None:
    """Stages, epochs and messages are recorded in order."""
    done = environment.run(patient(), JOB)
    assert done.result == JobResult(
        checkpoint_path="gpu_jobs/job_try/checkpoint/best_model.pt",
        epochs_completed=3,
        summary="Trained for 3 epochs.",
    )
    assert done.stages == list(Stage)
    assert done.epochs == [1, 2, 3]
    assert done.messages[0] == "Training epoch 1"
    assert (project_dir / "gpu_jobs/job_try/checkpoint/best_model.pt").is_file()
    assert (project_dir / "gpu_jobs/job_try/checkpoint/training_metrics.csv").is_file()


def test_a_cancel_can_come_at_every_callback(environment: HandlerEnvironment) -> None:
    """Wherever it comes, the handler ends as canceled; after the last one it is done."""
    count = environment.run(patient(), JOB).callbacks
    for number in range(1, count + 1):
        done = environment.run(patient(), JOB, cancel_at=number)
        assert done.canceled is CancelReason.USER_CANCELED, number
    assert environment.run(patient(), JOB, cancel_at=count + 1).canceled is None


def test_a_users_cancel_keeps_the_partial_model_and_a_removal_nothing(
    environment: HandlerEnvironment, project_dir: Path
) -> None:
    """As the worker does it."""
    environment.run(patient(), JOB, cancel_at=5, reason=CancelReason.JOB_REMOVED)
    assert not (project_dir / "gpu_jobs").exists()
    environment.run(patient(), JOB, cancel_at=5)
    assert (project_dir / "gpu_jobs/job_try/checkpoint/best_model.pt").is_file()


def test_what_no_longer_fits_is_left_out_and_named(environment: HandlerEnvironment) -> None:
    """Here: a cell that does not exist."""

    def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
        change = SetText("nowhere", "text", None, listed=False)
        callbacks.update_codex_file(NOTEBOOK, [change])
        return JobResult()

    (left_out,) = environment.run(run, JOB).left_out
    assert "nowhere" in left_out


def test_errors_reach_the_test_as_the_child_would_see_them(environment: HandlerEnvironment) -> None:
    """The handler's own ones, and those of a callback, with their class."""

    def leave_the_folder(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
        file = callbacks.get_work_dir() / "x"
        file.write_text("x", encoding="utf-8")
        callbacks.upload_files_batch({"gpu_jobs/manifest.yaml": file})
        return JobResult()

    def give_up(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
        raise JobError("Nobody speaks here.")

    with pytest.raises(UnsafePath):
        environment.run(leave_the_folder, JOB)
    with pytest.raises(JobError, match="Nobody speaks here"):
        environment.run(give_up, JOB)


def test_a_filter_that_matches_nothing_is_an_error_of_the_job(
    environment: HandlerEnvironment,
) -> None:
    """The same one that a user would get."""

    def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
        callbacks.download_project_data(Purpose.TRANSCRIBE)
        return JobResult()

    job = JOB.model_copy(update={"inference": JOB.inference.model_copy(update={"include": ("x",)})})
    with pytest.raises(InvalidJob):
        environment.run(run, job)


def test_the_how_to_is_true_on_the_bench(project_dir: Path, tmp_path: Path) -> None:
    """Its handler is loaded and its test is run, both as they stand in the text."""
    handler_text, test_text = _code_of_the_how_to()
    handler = ModuleType("marker")
    exec(handler_text, handler.__dict__)
    exec(test_text, {"handler": handler, "project_dir": project_dir, "work_dir": tmp_path / "work"})


def test_the_how_to_is_true_for_the_daemon(project_dir: Path, tmp_path: Path) -> None:
    """Its handler file is found by its folders and does the checkout's job."""
    folder = tmp_path / "mine/asr/marker"
    folder.mkdir(parents=True)
    (folder / "inference.py").write_text(_code_of_the_how_to()[0], encoding="utf-8")
    entry = {"job_id": "a1", "job_type": "asr", "mode": "inference", "model": {"type": "Marker"}}
    (project_dir / "gpu_jobs").mkdir()
    manifest = dump_yaml({"version": 1, "jobs": [entry]})
    (project_dir / "gpu_jobs/manifest.yaml").write_bytes(manifest)
    arguments = ("--project-dir", str(project_dir), "--loop-interval", "-1")
    with Daemon(tmp_path, *arguments, "--handlers-dir", str(tmp_path / "mine")) as daemon:
        assert daemon.wait() == 0, daemon.log
    response = yaml.safe_load((project_dir / "gpu_jobs/job_a1/response.yaml").read_text())
    assert (response["state"], response["status_message"]) == ("completed", "Marked 1 verses.")
    assert "needs a listener (5 bytes)" in (project_dir / NOTEBOOK).read_text(encoding="utf-8")


def _code_of_the_how_to() -> list[str]:
    text = HOW_TO.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)
