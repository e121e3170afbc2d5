"""The two servers with each other: killed, out of reach, full, too late, told to cancel."""

from __future__ import annotations

import pytest
from support.web_servers import PATIENCE_S, await_true


def runtime(client):
    """What the controller says about its worker."""
    return client.ask("GET", "/api/runtime")["remoteWorker"]


@pytest.mark.slow
def test_a_worker_out_of_reach_leaves_jobs_queued(farm):
    """They say why they wait, can be canceled without it, and are done when it comes."""
    farm.worker.start()
    farm.worker.kill()
    farm.start_controller()
    client = farm.client()
    kept, canceled = (client.create(name, f"{name}.mp3") for name in (b"kept", b"canceled"))
    waiting = client.await_code(kept["id"], "REMOTE_WORKER_UNREACHABLE")
    assert waiting["status"] == "queued_remote"
    assert runtime(client)["connected"] is False
    gone = client.ask("POST", f"/api/jobs/{canceled['id']}/cancel")
    assert (gone["status"], gone["lastErrorCode"]) == ("canceled", "USER_CANCELED")
    farm.worker.start()
    done = client.await_status(kept["id"], "complete")
    assert done["lastErrorCode"] is None
    assert farm.began() == ["kept"]
    assert runtime(client)["workerCapabilities"]["maxConcurrentJobs"] == 1


@pytest.mark.slow
def test_a_killed_worker_gets_its_job_once_more(farm):
    """A second kill fails it, with the code that says so; the next job is not affected."""
    farm.start()
    farm.hold()
    client = farm.client()
    job = client.create(b"unlucky")["id"]
    for times in (1, 2):
        await_true(lambda times=times: len(farm.began()) == times)
        farm.worker.kill()
        farm.worker.start()
    failed = client.await_status(job, "failed")
    assert (failed["lastErrorCode"], failed["workerErrorCode"]) == (
        "REMOTE_FAILED",
        "RUNNER_INTERRUPTED",
    )
    farm.let()
    client.await_status(client.create(b"lucky")["id"], "complete")
    assert farm.began() == ["unlucky", "unlucky", "lucky"]


def test_a_cancel_frees_the_worker_s_place(farm):
    """The running job is canceled at once, for the controller and soon for the worker, whose next job begins."""
    farm.start()
    farm.hold()
    client = farm.client()
    running, waiting = client.create(b"running")["id"], client.create(b"waiting")["id"]
    await_true(farm.began)
    client.await_status(running, "running")
    assert client.job(waiting)["status"] == "queued_remote"
    assert client.ask("POST", f"/api/jobs/{running}/cancel")["status"] == "canceled"
    await_true(lambda: farm.began() == ["running", "waiting"])
    farm.let()
    client.await_status(waiting, "complete")
    assert client.job(running)["status"] == "canceled"
    assert client.reply("GET", f"/api/jobs/{running}/result").status_code == 409


@pytest.mark.slow
def test_what_takes_too_long_fails_with_its_own_code(farm):
    """Running too long, waiting too long for a worker that is there, and for one that never was."""
    farm.start(
        "--remote-worker-timeout-seconds", "8", "--remote-worker-queue-seconds", "1.5",
    )  # fmt: skip
    farm.hold()
    client = farm.client()
    running = client.create(b"running")["id"]
    await_true(farm.began)
    waiting = client.create(b"waiting")["id"]
    client.await_code(waiting, "REMOTE_WORKER_CAPACITY")
    assert client.await_status(waiting, "failed")
    client.await_code(running, "REMOTE_WORKER_TIMEOUT")
    farm.worker.kill()
    unseen = client.create(b"unseen")["id"]
    assert client.await_status(unseen, "failed")["lastErrorCode"] == "REMOTE_WORKER_TIMEOUT"
    assert farm.began() == ["running"]


@pytest.mark.slow
def test_a_stopped_worker_finishes_what_it_runs(farm):
    """TERM takes no more jobs, waits for those that run, and ends with 0; their results are there afterwards."""
    farm.start()
    farm.hold()
    client = farm.client()
    first, second = (client.create(name)["id"] for name in (b"first", b"second"))
    await_true(farm.began)
    farm.worker.process.terminate()
    await_true(lambda: runtime(client)["workerCapabilities"]["draining"])
    farm.let()
    assert farm.worker.process.wait(PATIENCE_S) == 0
    assert client.job(second)["status"] == "queued_remote"
    farm.worker.start()
    client.await_status(first, "complete")
    client.await_status(second, "complete")
    assert farm.began() == ["first", "second"]
    assert farm.controller.stop() == 0


@pytest.mark.slow
def test_a_wrong_token_is_said(farm):
    """The job fails with the code for it, and no log has either token."""
    farm.controller.environment["REMOTE_WORKER_TOKEN"] = "another-token-of-the-controller"
    farm.start()
    client = farm.client()
    failed = client.await_status(client.create(b"a")["id"], "failed")
    assert failed["lastErrorCode"] == "REMOTE_WORKER_UNAUTHORIZED"
    logs = farm.worker.log.read_text("utf-8") + farm.controller.log.read_text("utf-8")
    assert farm.worker.environment["WORKER_TOKEN"] not in logs
    assert "another-token-of-the-controller" not in logs
