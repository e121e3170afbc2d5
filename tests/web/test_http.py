"""What the servers answer: uploads that go on, requests that come twice, strangers, nonsense."""

from __future__ import annotations

import pytest
import requests
from support.relay import Relay
from support.web_servers import TOKEN, announcement, await_true, farm_in, part

from batch.peer import PART_BYTES, Answered, Peer

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    """Servers for all tests of this file; each has sessions of its own."""
    with farm_in(tmp_path_factory.mktemp("farm")) as made:
        made.worker.argv += ["--max-file-mb", "20"]
        made.start("--max-file-mb", "20")
        yield made


@pytest.fixture
def client(farm):
    """A session."""
    return farm.client()


def test_an_upload_goes_on_where_it_was_cut(client):
    """Parts in order; one that belongs elsewhere is refused with the place that comes next."""
    content = b"0123456789"
    upload = client.ask("POST", "/api/uploads", json=announcement(content))
    url = f"/api/uploads/{upload['id']}"
    assert client.ask("PUT", url, data=content[:4], headers=part(0, 4, 10))["offset"] == 4
    refused = client.reply("PUT", url, data=content[6:], headers=part(6, 10, 10))
    assert (refused.status_code, refused.json()["code"]) == (409, "UPLOAD_OFFSET")
    assert refused.json()["offset"] == 4
    assert client.ask("GET", url)["complete"] is False
    again = client.ask("POST", "/api/uploads", json=announcement(content))
    assert (again["id"], again["offset"]) == (upload["id"], 4)
    done = client.ask("PUT", url, data=content[4:], headers=part(4, 10, 10))
    assert done["complete"] is True
    assert client.ask("PUT", url, data=b"late", headers=part(6, 10, 10))["complete"] is True


def test_a_damaged_upload_begins_anew(client):
    """Its SHA-256 is not what was announced: no byte of it is kept."""
    upload = client.ask("POST", "/api/uploads", json=announcement(b"intact"))
    url = f"/api/uploads/{upload['id']}"
    refused = client.reply("PUT", url, data=b"broken", headers=part(0, 6, 6))
    assert (refused.status_code, refused.json()["code"]) == (422, "UPLOAD_DAMAGED")
    body = {"uploadId": upload["id"], "name": "a"}
    assert client.reply("POST", "/api/jobs", json=body).json()["code"] == "UPLOAD_INCOMPLETE"
    assert client.ask("PUT", url, data=b"intact", headers=part(0, 6, 6))["complete"] is True


def test_a_recording_that_is_too_large_is_refused_before_it_is_sent(client):
    """And so are more bytes than a part announces."""
    huge = {**announcement(b""), "size": 20_000_001}
    assert client.reply("POST", "/api/uploads", json=huge).status_code == 413
    upload = client.ask("POST", "/api/uploads", json=announcement(b"abcdef"))
    url = f"/api/uploads/{upload['id']}"
    long = client.reply("PUT", url, data=b"abcdefgh", headers=part(0, 2, 6))
    assert long.status_code == 413
    assert client.ask("GET", url)["offset"] == 0


def test_a_large_file_survives_a_cut_connection(farm, tmp_path):
    """A relay cuts the line in the middle of a part; the client goes on from what had arrived."""
    path = tmp_path / "long.wav"
    path.write_bytes(bytes(range(256)) * (2 * PART_BYTES // 256) + b"end")
    with Relay(farm.worker.url) as relay:
        peer = Peer(relay.url, BEARER, patience_s=20.0)
        relay.cut_after(PART_BYTES // 2)
        sent = peer.send("/v1/uploads", path, "long.wav")
        assert relay.cuts == 1
        peer.close()
    told = requests.get(
        f"{farm.worker.url}/v1/uploads/{sent.upload_id}", headers=BEARER, timeout=10
    )
    assert told.json()["complete"] is True
    assert told.json()["sha256"] == sent.sha256


def test_a_request_that_comes_twice_makes_one_job(farm, client):
    """The answer to the first was lost; the same key with another body is refused."""
    body = {"uploadId": client.upload(b"twice"), "name": "twice.mp3"}
    key = {"Idempotency-Key": "one"}
    first = client.reply("POST", "/api/jobs", json=body, headers=key)
    second = client.reply("POST", "/api/jobs", json=body, headers=key)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    other = client.reply("POST", "/api/jobs", json={**body, "name": "other"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "KEY_REUSED")
    client.await_status(first.json()["id"], "complete")
    assert farm.began().count("twice") == 1
    assert len(client.ask("GET", "/api/jobs")["jobs"]) == 1


def test_a_result_comes_in_every_form(client):
    """As it was heard, and as a person wants to read it; a form that nobody knows is refused."""
    job = client.create(b"hello")["id"]
    waited = client.ask("GET", f"/api/jobs/{job}?wait=30")
    assert waited["status"] == "complete"
    assert waited["progress"] == {"stage": "finalizing", "percent": 100}
    url = f"/api/jobs/{job}/result"
    assert client.ask("GET", url)["transcript"]["text"] == "hello"
    assert client.reply("GET", f"{url}?format=vtt").text.startswith("WEBVTT")
    assert "-->" in client.reply("GET", f"{url}?format=srt").text
    assert client.reply("GET", f"{url}?format=docx").json()["field"] == "format"
    assert client.ask("POST", f"/api/jobs/{job}/cancel")["status"] == "complete"


def test_speakers_are_named_for_the_jobs_that_want_it(client):
    """The stage is there for all, and passes by the others."""
    quiet, wanted = (client.create(b"who", diarization=wish)["id"] for wish in (False, True))
    for job in (quiet, wanted):
        client.ask("GET", f"/api/jobs/{job}?wait=30")
    assert "turns" not in client.ask("GET", f"/api/jobs/{quiet}/result")
    told = client.ask("GET", f"/api/jobs/{wanted}/result")
    assert [turn["speaker"] for turn in told["turns"]] == ["A", "B"]
    read = client.ask("GET", f"/api/jobs/{wanted}/result?format=json")
    assert len(read["turns"]) == 2


def test_nobody_sees_somebody_else_s_job(farm, client):
    """It is as unknown as one that never was, and so is the recording."""
    job = client.create(b"mine")
    stranger = farm.client()
    for path in (f"jobs/{job['id']}", f"jobs/{job['id']}/result", f"uploads/{job['uploadId']}"):
        assert stranger.reply("GET", f"/api/{path}").status_code == 404
    assert stranger.reply("POST", f"/api/jobs/{job['id']}/cancel").status_code == 404
    body = {"uploadId": job["uploadId"], "name": "a"}
    assert stranger.reply("POST", "/api/jobs", json=body).status_code == 404


def test_a_change_needs_both_secrets_of_a_session(client):
    """The cookie alone, which another site could have sent along, is not enough."""
    del client.session.headers["X-CSRF-Token"]
    assert client.reply("POST", "/api/uploads", json=announcement(b"a")).status_code == 403
    assert client.reply("GET", "/api/jobs").status_code == 200
    client.session.cookies.clear()
    refused = client.reply("GET", "/api/jobs")
    assert (refused.status_code, refused.json()["code"]) == (401, "NO_SESSION")


def test_the_worker_answers_nobody_without_its_token(farm):
    """Health is open, everything else is not; errors look the same everywhere."""
    url = farm.worker.url
    assert requests.get(f"{url}/health", timeout=10).json()["status"] in ("READY", "BUSY")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
        for path in ("/v1/ping", "/v1/jobs", "/v1/jobs/wk_1", "/v1/uploads/up_1"):
            refused = requests.get(url + path, headers=headers, timeout=10)
            assert refused.status_code == 401
            assert refused.headers["Content-Type"] == "application/problem+json"
    ping = requests.get(f"{url}/v1/ping", headers=BEARER, timeout=10).json()
    assert {"activeJobs", "maxConcurrentJobs", "gpu", "gpuName", "freeSlots"} <= ping.keys()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 422), (b'{"uploadId": "up_1", "name": "a", "nmae": 1}', 422)],
)
def test_nonsense_is_refused_with_a_reason(client, body, status):
    """Broken JSON, the wrong shape, a field that nobody knows."""
    headers = {"Content-Type": "application/json"}
    refused = client.reply("POST", "/api/jobs", data=body, headers=headers)
    assert refused.status_code == status
    assert refused.json()["code"] == "INVALID"


def test_a_body_that_no_request_needs_is_refused_unread(client):
    """Only recordings may be large, and they are announced."""
    assert client.reply("POST", "/api/jobs", data=b" " * 1_100_000).status_code == 413
    pieces = (b" " for _ in range(3))
    assert client.reply("POST", "/api/jobs", data=pieces).status_code == 411


def test_a_full_worker_says_so(farm, client):
    """AT_CAPACITY with a time, and the same id is taken when there is room."""
    peer = Peer(farm.worker.url, BEARER)
    # Other tests leave jobs to the controller, which would take the place.
    await_true(lambda: not open_jobs(client) and peer.ask("GET", "/v1/ping")["freeSlots"])
    farm.hold()
    path = farm.home / "full"
    ids = []
    try:
        for number in range(2):
            path.write_text(f"full{number}")
            ids.append((f"wk_full{number}", peer.send("/v1/uploads", path, "full").upload_id))
        create(peer, *ids[0])
        with pytest.raises(Answered) as caught:
            create(peer, *ids[1])
    finally:
        farm.let()
    assert (caught.value.status, caught.value.code) == (409, "AT_CAPACITY")
    assert caught.value.retry_after_s > 0
    await_true(lambda: peer.ask("GET", "/v1/ping")["freeSlots"])
    create(peer, *ids[1])
    assert peer.ask("GET", f"/v1/jobs/{ids[1][0]}?wait=30", wait_s=30)["status"] == "complete"
    create(peer, *ids[1])
    assert farm.began().count("full1") == 1
    peer.close()


def open_jobs(client):
    """How many jobs of all clients have not ended."""
    queue = client.ask("GET", "/api/runtime")["queue"]
    return queue["queued_remote"] + queue["running"]


def create(peer, job_id, upload_id):
    """Begin a job at the worker."""
    return peer.ask("PUT", f"/v1/jobs/{job_id}", {"uploadId": upload_id, "name": "a"})


def test_sessions_outlive_the_client_s_process(farm):
    """They are in the database; a second client with the same secrets sees the same jobs."""
    first = farm.client()
    job = first.create(b"kept")["id"]
    second = farm.client()
    second.session.cookies.update(first.session.cookies)
    assert second.job(job)["id"] == job


def test_the_page_and_the_metrics_show_the_queue_but_no_names(farm, client):
    """For whoever runs the controller: states and codes; nothing of whose recording it is."""
    job = client.create(b"bad", "private-name.mp3")["id"]
    assert client.await_status(job, "failed")["workerErrorCode"] == "AUDIO_UNREADABLE"
    page = requests.get(farm.controller.url, timeout=10)
    assert job in page.text
    assert "REMOTE_FAILED" in page.text
    assert "private-name" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert requests.get(f"{farm.controller.url}/status.css", timeout=10).ok
    for server in (farm.controller, farm.worker):
        told = requests.get(f"{server.url}/metrics", timeout=10).text
        assert 'scriptorium_http_jobs{state="failed"}' in told
        assert "scriptorium_remote_worker_connected 1.0" in told
        assert "private-name" not in told
    assert 'scriptorium_pool_workers{pool="transcribe"' in told


def test_what_is_documented_for_programs_is_what_is_served(farm):
    """Every endpoint stands in the OpenAPI document of its server."""
    served = requests.get(f"{farm.controller.url}/openapi.json", timeout=10).json()["paths"]
    assert {"/api/session", "/api/uploads", "/api/jobs/{job_id}/cancel", "/api/runtime"} <= set(
        served
    )
    served = requests.get(f"{farm.worker.url}/openapi.json", timeout=10).json()["paths"]
    assert {"/v1/ping", "/v1/uploads/{upload_id}", "/v1/jobs/{job_id}/result"} <= set(served)
