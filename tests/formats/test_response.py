"""Responses: what the editor reads, what other workers wrote, what may follow what.

Numbers in test names are the interop cases of the job protocol.
"""

from __future__ import annotations

import io
import itertools
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gitlab_jobs.job import JobState
from gitlab_jobs.response import (
    MAX_MESSAGE_CHARS,
    IllegalTransition,
    Response,
    ResponseProgress,
    ResponseResult,
    check_transition,
    dump_response,
    parse_response,
)
from gitlab_jobs.yaml_text import dump_yaml

NOW = datetime(2026, 3, 10, 8, 12, tzinfo=UTC)
FULL = Response(
    worker_id="gpu-worker-1",
    state=JobState.RUNNING,
    timestamp=NOW,
    epochs_completed=40,
    expected_completion=NOW + timedelta(hours=1),
    status_message="Training epoch 41 of 100",
    error_message="none yet",
    termination_reason="user_canceled",
    retry_count=2,
    result=ResponseResult(checkpoint_path="gpu_jobs/job_a/checkpoint/x.pt", extra={"cer": 0.25}),
    claim="0f" * 16,
    lease="gpu_jobs/job_a/lease/7-" + "0f" * 16 + ".yaml",
    lease_n=7,
    boot_id="b",
    attempt=3,
    lease_seconds=1800,
    error_code="OOM_GPU",
    progress=ResponseProgress(
        stage="train", percent=40.5, done=40, total=100, unit="epochs", rate=0.1
    ),
    version=1,
    extra={"colour": "blue"},
)


def as_the_client_reads(response: Response) -> Any:
    """The written file through a strict YAML 1.2 parser of another make."""
    parser = YAML(typ="safe", pure=True)
    parser.version = (1, 2)
    return parser.load(io.BytesIO(dump_response(response)))


def test_a_response_survives_the_file_and_keeps_its_order() -> None:
    """Nothing is lost, and the keys a person looks for come first."""
    assert parse_response(dump_response(FULL)) == FULL
    keys = list(as_the_client_reads(FULL))
    assert keys[:3] == ["worker_id", "state", "timestamp"]
    assert keys[-2:] == ["version", "colour"]


def test_the_file_looks_like_the_fields_own() -> None:
    """A typical running response, letter by letter."""
    response = Response(
        worker_id="gpu-worker-1",
        state=JobState.RUNNING,
        timestamp=NOW.astimezone(timezone(timedelta(hours=2))),
        epochs_completed=0,
        status_message="Training epoch 1 of 100",
    )
    assert parse_response(dump_response(response)) == response
    assert dump_response(response.model_copy(update={"timestamp": NOW})).decode() == (
        "worker_id: gpu-worker-1\n"
        "state: running\n"
        "timestamp: '2026-03-10T08:12:00+00:00'\n"
        "epochs_completed: 0\n"
        "status_message: Training epoch 1 of 100\n"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# nothing\n",
        b"{}",
        b"[]",
        b"completed",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        b"state: !!python/name:os.system",
        b"state: a: b",
        b"\xff",
        b"<<<<<<< HEAD\nstate: running\n=======\nstate: completed\n>>>>>>> x\n",
    ],
)
def test_unreadable_responses_are_none(content: bytes) -> None:
    """What shows as running or undefined in the editor tells a worker nothing."""
    assert parse_response(content) is None


def test_a_foreign_response_is_understood_and_written_back_whole() -> None:
    """Odd types are read where they can be, everything else is kept as it was."""
    content = (
        b"worker_id: 7\nstate: running\ntimestamp: 2026-03-10 08:12:00\nepochs_completed: '3'\n"
        b"retry_count: 1.0\nexpected_completion: soon\nresult: {checkpoint_path: a, wer: .nan, n: 5}\n"
        b"progress: half\nhost: {gpu: [a, b]}\n7: seven\n"
    )
    response = parse_response(content)
    assert response is not None
    assert (response.worker_id, response.epochs_completed, response.retry_count) == ("7", 3, 1)
    assert response.timestamp == NOW
    assert response.expected_completion is None
    written = as_the_client_reads(response)
    assert written["expected_completion"] == "soon"
    assert written["result"] == {"checkpoint_path": "a", "n": 5}
    assert (written["progress"], written["host"], written["7"]) == (
        "half",
        {"gpu": ["a", "b"]},
        "seven",
    )


@pytest.mark.parametrize("state", ["pending", "Running", "", None, 7, ["running"]])
def test_a_foreign_state_is_nobodys_final_state(state: Any) -> None:
    """A job whose state we do not know belongs to somebody and is not finished."""
    response = parse_response(dump_yaml({"worker_id": "x", "state": state}))
    assert response is not None
    assert response.state is None
    assert not response.is_final


def test_our_fields_win_over_kept_ones() -> None:
    """A take-over of a job with an odd state writes a real one."""
    odd = parse_response(b"state: pending\nresult: none\n")
    assert odd is not None
    ours = odd.model_copy(
        update={"state": JobState.RUNNING, "result": ResponseResult(checkpoint_path="c")}
    )
    assert as_the_client_reads(ours) == {"state": "running", "result": {"checkpoint_path": "c"}}


def test_case_21_error_messages_arrive_word_for_word() -> None:
    """Colons, quotes, line ends, emoji and tabs are no danger to the file."""
    message = 'File "a: b"\n\tline #1: it\'s 50% → 😀 { [ & * ! | > no'
    written = as_the_client_reads(Response(state=JobState.FAILED, error_message=message))
    assert written == {"state": "failed", "error_message": message}


def test_messages_are_made_fit_for_a_tooltip() -> None:
    """Terminal colours, progress bars and endless texts do not reach the editor."""
    written = as_the_client_reads(
        Response(
            error_message="\x1b[31mred\x00\x7f\u202e " + "x" * 9000, status_message="\r\x07 \r\n"
        )
    )
    assert written["error_message"].startswith("red xxx")
    assert len(written["error_message"]) == MAX_MESSAGE_CHARS
    assert "status_message" not in written


class Scalar(float):
    """Stands for a scalar type of an array library."""


def test_case_22_metrics_of_array_libraries_and_nan() -> None:
    """A figure that is not a number disappears, everything else stays readable."""
    result = ResponseResult(extra={"loss": Scalar(0.5), "cer": math.nan, "all": [1.0, math.inf]})
    written = as_the_client_reads(Response(state=JobState.COMPLETED, result=result))
    assert written == {"state": "completed", "result": {"loss": 0.5, "all": [1.0, None]}}


@given(
    st.dictionaries(
        st.text(max_size=9), st.text(max_size=9) | st.integers() | st.floats() | st.none()
    )
)
def test_any_mapping_is_read_without_loss(document: dict[str, Any]) -> None:
    """Reading and writing a stranger's response changes it at most once."""
    response = parse_response(dump_yaml(document))
    if response is not None:
        written = dump_response(response)
        assert dump_response(parse_response(written) or Response()) == written


STATES = [None, *JobState]
ALLOWED = {
    (None, "running"), (None, "failed"), (None, "canceled"),
    ("running", "running"), ("running", "completed"), ("running", "failed"), ("running", "canceled"),
    ("completed", "completed"), ("failed", "failed"), ("canceled", "canceled"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), list(itertools.product(STATES, JobState)))
def test_only_legal_transitions_pass(old: JobState | None, new: JobState) -> None:
    """Final states are never left, and nothing is completed that was never claimed."""
    before = None if old is None else Response(state=old)
    if (old, new) in ALLOWED:
        check_transition(before, Response(state=new))
    else:
        with pytest.raises(IllegalTransition):
            check_transition(before, Response(state=new))


def test_a_stranger_with_an_odd_state_may_be_taken_over() -> None:
    """No state is not final."""
    check_transition(Response(worker_id="x"), Response(state=JobState.RUNNING, retry_count=1))


def test_what_a_response_may_not_forget() -> None:
    """The editor remembers nothing, so epochs and the count of claims must be told every time."""
    running = Response(
        state=JobState.RUNNING, claim="a", attempt=1, epochs_completed=4, retry_count=2
    )
    forgetful = {
        "epochs_completed": running.model_copy(update={"epochs_completed": None}),
        "retry_count": running.model_copy(update={"retry_count": 1}),
        "state": running.model_copy(update={"state": None}),
    }
    for what, response in forgetful.items():
        with pytest.raises(IllegalTransition, match=what):
            check_transition(running, response)
    next_attempt = Response(state=JobState.RUNNING, claim="b", attempt=2, retry_count=3)
    check_transition(running, next_attempt)
