"""Interop cases 19 to 21 and 23 to 25: what the user reads while a job runs and when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.daemon import await_true
from support.job_world import JobWorld, job, training

from gitlab_jobs.lfs import parse_pointer

COMMITS = "/projects/:id/repository/commits"
OFTEN = ("--watch-s", "0.05", "--heartbeat-s", "0.2")


def test_case_19_epochs_count_completed_ones_and_end_at_their_number(
    world: JobWorld, tmp_path: Path
) -> None:
    """Never falling, from 0 to all, through renewals while the job waits."""
    gate = tmp_path / "gate"
    world.submit(training("t1", epochs=7, wait_in="evaluate", gate=str(gate)))
    with world.run_worker(*OFTEN) as daemon:
        words = "Checking the model"
        await_true(lambda: world.response("t1").get("status_message") == words, words)
        assert world.response("t1")["epochs_completed"] == 7
        gate.touch()
        assert daemon.wait() == 0
    counts = [version["epochs_completed"] for version in _versions(world, "t1")]
    assert counts[0] == 0
    assert counts[-1] == 7
    assert counts == sorted(counts)


def test_case_20_the_checkpoint_that_a_response_names_is_there(world: JobWorld) -> None:
    """In the very commit that says completed; its bytes are in LFS."""
    world.submit(training("t1"))
    world.run_to_end()
    path = world.response("t1")["result"]["checkpoint_path"]
    assert path == "gpu_jobs/job_t1/checkpoint/best_model.pt"
    final = world.by_worker()[-1]
    assert {path, "gpu_jobs/job_t1/response.yaml"} <= final.paths
    content = world.read(path)
    assert content is not None
    pointer = parse_pointer(content)
    assert pointer is not None
    assert pointer.size == len(b"weights of t1")


def test_case_21_any_error_text_reaches_the_user_as_it_was(world: JobWorld) -> None:
    """Colons, quotes, line ends, tabs, other scripts and emoji survive a strict parser."""
    text = 'It\'s "odd": - {a: b}\n\tሰላም 🎉 # not a comment\n~ yes'
    world.submit(job("f1", "Failing", fails_with=text))
    world.run_to_end()
    response = world.response("f1")
    assert response["state"] == "failed"
    assert response["error_message"] == text


@pytest.mark.parametrize(
    ("how", "words", "code"),
    [
        ("bug", "unexpected error (ZeroDivisionError)", "HANDLER_ERROR"),
        ("crash", "crashed", "CHILD_CRASH"),
    ],
)
def test_an_accident_is_told_without_traces_and_paths(
    world: JobWorld, how: str, words: str, code: str
) -> None:
    """The user gets a sentence, the log gets the rest, and the next job runs."""
    world.submit(job("f1", "Failing", fails_with=how), job("next"))
    world.run_to_end()
    response = world.response("f1")
    assert response["state"] == "failed"
    assert response["error_code"] == code
    assert words in response["error_message"]
    assert "/" not in response["error_message"]
    assert world.state("next") == "completed"


def test_case_23_the_last_phase_is_not_left_in_the_final_response(world: JobWorld) -> None:
    """A summary replaces it, or nothing does; never a phase that has passed."""
    world.submit(job("a1"), job("f1", "Failing", fails_with="no"), training("t1"))
    world.run_to_end()
    assert world.response("a1")["status_message"] == "Nothing was asked for."
    assert "status_message" not in world.response("f1")
    assert world.response("t1")["status_message"] == "Trained for 3 epochs."


@pytest.mark.parametrize("action", ["drop", "lose_reply", "status"])
def test_case_24_a_renewal_that_fails_does_not_end_the_job(
    world: JobWorld, tmp_path: Path, action: str
) -> None:
    """Dropped, refused, or done without an answer: the next renewals go on from there."""
    gate = tmp_path / "gate"
    world.submit(training("t1", wait_in="train", gate=str(gate)))
    with world.run_worker(*OFTEN) as daemon:
        await_true(lambda: len(_lease_numbers(world)) == 1, "a claim")
        world.server.set_faults(action=action, method="POST", endpoint=COMMITS, count=2)
        seen = _lease_numbers(world)[0]
        await_true(lambda: _lease_numbers(world)[0] > seen + 2, "later renewals")
        gate.touch()
        assert daemon.wait() == 0
    assert world.state("t1") == "completed"


@pytest.mark.parametrize("action", ["drop", "lose_reply", "status"])
def test_case_25_an_end_that_cannot_be_written_is_tried_until_it_lands(
    world: JobWorld, action: str
) -> None:
    """The final commit, second of two, fails twice; its result appears once."""
    rule = {"action": action, "method": "POST", "endpoint": COMMITS, "skip": 1, "count": 2}
    world.submit(training("t1"))
    world.server.set_faults(**rule)
    world.run_to_end()
    assert world.state("t1") == "completed"
    assert len(world.by_worker()) == 2


def _versions(world: JobWorld, job_id: str) -> Sequence[Any]:
    return world.versions(f"gpu_jobs/job_{job_id}/response.yaml")


def _lease_numbers(world: JobWorld) -> list[int]:
    number = world.response("t1").get("lease_n")
    return [] if number is None else [int(number)]
