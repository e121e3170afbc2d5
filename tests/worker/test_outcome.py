"""The table from a child's end to what the user is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitlab_jobs.job import CancelReason, JobState
from gitlab_jobs.outcome import judge
from runner.verdict import ChildExit, RemoteError, Usage, Verdict

DONE = ChildExit(
    verdict=Verdict.SUCCEEDED,
    result={"checkpoint_path": "gpu_jobs/job_a/model", "facts": {"cer": 0.1}},
    error=None,
    cancel_reason=None,
    exit_code=0,
    signal=None,
    usage=Usage(1, 0.0, 0.0, 0.0),
    last_lines=(),
)


def failed(kind: str, code: str, message: str) -> ChildExit:
    """A child whose handler raised."""
    error = RemoteError(kind, code, message, "Traceback: /home/secret/file.py")
    return replace(DONE, verdict=Verdict.FAILED, result=None, error=error)


def test_a_result_completes_the_job() -> None:
    """With everything it made."""
    outcome = judge(DONE, None)
    assert outcome.state is JobState.COMPLETED
    assert outcome.result is not None
    assert outcome.result.checkpoint_path == "gpu_jobs/job_a/model"
    assert outcome.publishes_files
    assert outcome.publishes_cells
    assert outcome.publishes_log


@pytest.mark.parametrize("result", [None, {"surprise": 1}, {"checkpoint_path": 3}])
def test_a_result_that_is_none_fails_the_job(result: dict[str, object] | None) -> None:
    """The child broke its word."""
    outcome = judge(replace(DONE, result=result), None)
    assert (outcome.state, outcome.error_code) == (JobState.FAILED, "CHILD_PROTOCOL")


def test_words_for_the_user_are_passed_on_and_others_are_not() -> None:
    """An error with a code was meant for a translator; any other is a bug."""
    told = judge(failed("InvalidJob", "MANIFEST_INVALID", "Nothing to do."), None)
    assert (told.error_message, told.error_code) == ("Nothing to do.", "MANIFEST_INVALID")
    bug = judge(failed("KeyError", "", "/home/secret"), None)
    assert bug.error_message is not None
    assert "KeyError" in bug.error_message
    assert "secret" not in bug.error_message


@pytest.mark.parametrize(
    "verdict", set(Verdict) - {Verdict.SUCCEEDED, Verdict.FAILED, Verdict.CANCELED}
)
def test_every_other_end_has_a_sentence(verdict: Verdict) -> None:
    """Failed, with the reason as its code."""
    outcome = judge(replace(DONE, verdict=verdict, result=None), None)
    assert (outcome.state, outcome.error_code) == (JobState.FAILED, verdict.value)
    assert outcome.error_message
    assert outcome.error_message.endswith(".")
    assert not outcome.publishes_files


@pytest.mark.parametrize(
    ("reason", "files", "log"),
    [
        (CancelReason.USER_CANCELED, True, True),
        (CancelReason.TIMEOUT, True, True),
        (CancelReason.JOB_REMOVED, False, False),
    ],
)
def test_a_job_that_was_stopped_is_canceled(reason: CancelReason, files: bool, log: bool) -> None:
    """Even if it was done by then or failed on the way; cells are never changed."""
    for ended in (DONE, failed("KeyError", "", "x"), replace(DONE, verdict=Verdict.CANCELED)):
        outcome = judge(ended, reason)
        assert outcome.state is JobState.CANCELED
        assert (outcome.publishes_files, outcome.publishes_log) == (files, log)
        assert not outcome.publishes_cells


@pytest.mark.parametrize("reason", [CancelReason.LEASE_LOST, CancelReason.FOLDER_DELETED])
def test_a_job_that_is_not_ours_any_more_ends_in_silence(reason: CancelReason) -> None:
    """Nothing is written."""
    outcome = judge(DONE, reason)
    assert outcome.state is None
    published = [outcome.publishes_files, outcome.publishes_cells, outcome.publishes_log]
    assert not any(published)


def test_a_stop_of_the_daemon_does_not_waste_work_that_is_done() -> None:
    """But work that is not goes back to the queue."""
    assert judge(DONE, CancelReason.SHUTDOWN).state is JobState.COMPLETED
    canceled = replace(DONE, verdict=Verdict.CANCELED, result=None)
    assert judge(canceled, CancelReason.SHUTDOWN).state is None
    assert judge(canceled, None).reason is CancelReason.SHUTDOWN
