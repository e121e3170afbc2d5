"""What counts as a recording, and that hostile ones hurt nobody."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from support import batch_runs
from support.batch_runs import Place
from support.hostile_media import silent_wave, write_hostile_media, write_unending_media
from support.http_stub import HttpStub, Reply

from batch.errors import InputMissing
from batch.recordings import fetch
from batch.recordings.packing import pack
from batch.recordings.source import Asset, discover
from batch.state.shards import shard


def test_a_folder_is_read_the_largest_first_and_never_in_circles(tmp_path):
    """Hidden things, other files and linked folders are left alone; a linked file is a file."""
    for name, size in {"a.mp3": 1, "b/c.WAV": 3, "b/.d.mp3": 9, ".e/f.mp3": 9, "g.txt": 9}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "b" / "circle").symlink_to(tmp_path)
    (tmp_path / "linked.mp3").symlink_to(tmp_path / "a.mp3")
    (tmp_path / "broken.mp3").symlink_to(tmp_path / "nothing")
    assert [asset.name for asset in discover(str(tmp_path))] == ["b/c.WAV", "a.mp3", "linked.mp3"]
    assert [asset.name for asset in discover(str(tmp_path / "a.mp3"))] == ["a.mp3"]


def test_any_address_that_fsspec_opens_is_an_input(tmp_path):
    """Listed, fetched, written where the output is."""
    memory = fsspec.filesystem("memory")
    memory.pipe("/talks/one.mp3", b"one")
    memory.pipe("/talks/deep/two.flac", b"two")
    place = Place(tmp_path)
    flags = ["--input", "memory://talks", "--output", str(place.output), "--gpus", "none"]
    assert place.run_argv(flags).exit_code == 0
    assert sorted(place.said()) == ["one", "two"]
    assert (place.output / "deep" / "two.flac.srt").exists()
    memory.rm("/talks", recursive=True)
    with pytest.raises(InputMissing):
        discover("nosuchscheme://x/y")


def test_what_cannot_be_fetched_fails_alone_and_passing_faults_are_tried_again(
    tmp_path, monkeypatch
):
    """404 is final, 500 may pass: once within the run, later by the next run."""
    monkeypatch.setattr(fetch, "LONGEST_WAIT_S", 0.01)
    answers = {"/gone.mp3": [404], "/sick.mp3": [500], "/tired.mp3": [500, 500, 200]}

    def answer(request):
        left = answers[request.path]
        return Reply(left.pop(0) if len(left) > 1 else left[0], b"tired")

    place = Place(tmp_path)
    listed = tmp_path / "list.json"
    with HttpStub(answer) as server:
        entries = [{"id": path[1:5], "url": server.url + path} for path in answers]
        listed.write_text(json.dumps({"assets": entries}))
        flags = ["--assets", str(listed), "--output", str(place.output), "--gpus", "none"]
        assert place.run_argv([*flags, "--json"]).exit_code == 75
    told = {event["name"]: event["code"] for event in place.events if event["event"] == "file"}
    assert told == {"gone": "INPUT_MISSING", "sick": "NETWORK_ERROR", "tire": None}
    assert place.said() == ["tired"]


def test_short_files_travel_together_and_large_ones_alone():
    """Bounded by number and by bytes; an unknown size counts as large."""
    sizes = [20 << 20, 6 << 20, 3 << 20, 10, 10, 10, None, 10]
    assets = [Asset(str(n), "", size) for n, size in enumerate(sizes)]
    packs = [[asset.name for asset in group.assets] for group in pack(assets, most_files=3)]
    assert packs == [["0"], ["1"], ["2", "3", "4"], ["5"], ["6"], ["7"]]


def test_parts_of_a_batch_are_of_equal_weight():
    """Nobody twice, nobody left out, whatever the order of the list."""
    assets = [Asset(str(n), "", (n * 37 % 101 + 1) << 16) for n in range(100)]
    parts = [shard(assets, part, 4) for part in (1, 2, 3, 4)]
    assert sorted(a.name for p in parts for a in p) == sorted(a.name for a in assets)
    weights = [sum(asset.size for asset in part) for part in parts]
    assert max(weights) - min(weights) <= max(asset.size for asset in assets)
    backwards = {a.name for a in shard(assets[::-1], 2, 4)}
    assert backwards == {a.name for a in parts[1]}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """One whose recordings are really decoded, a quarter of an hour of each at most."""
    light = batch_runs.tasks(tmp_path / "diary", 0.0, is_light=True)
    real = batch_runs.real_decoder(light, 900.0)
    monkeypatch.setattr(batch_runs, "tasks", lambda *_, **__: real)
    return Place(tmp_path)


def codes(place):
    """Of the files that failed."""
    failed = [event for event in place.events if event.get("status") == "failed"]
    assert all(event["message"] for event in failed)
    return {event["name"]: event["code"] for event in failed}


def test_forty_hostile_files_each_fail_alone(place):
    """With a code, and the good ones between them are transcribed."""
    hostile = write_hostile_media(place.input)
    assert len(set(hostile)) == 40
    for number in range(3):
        silent_wave(place.input / f"good{number}.wav", number + 1)
    assert place.run().exit_code == 80
    statuses = place.statuses()
    assert [name for name, status in statuses.items() if status == "complete"] == [
        "good2.wav",
        "good1.wav",
        "good0.wav",
    ]
    told = codes(place)
    assert sorted(told) == sorted(hostile)
    assert set(told.values()) <= {"AUDIO_UNREADABLE", "CHILD_CRASH"}


def test_small_files_that_unfold_without_end_are_cut_short(place):
    """They fail with a code of their own; what they decoded to is gone, and the good file is done."""
    unending = write_unending_media(place.input)
    silent_wave(place.input / "good.wav", 1)
    assert max((place.input / name).stat().st_blocks * 512 for name in unending) < 1 << 20
    assert place.run().exit_code == 80
    assert codes(place) == dict.fromkeys(unending, "AUDIO_TOO_LONG")
    assert place.statuses()["good.wav"] == "complete"
    assert not list(place.input.glob(".*"))


def test_links_out_of_the_folder_are_taken_only_on_request(place, tmp_path):
    """One that leads out fails alone; inside, a link is a file."""
    silent_wave(tmp_path / "private.wav", 1)
    silent_wave(place.input / "own.wav", 1)
    (place.input / "out.wav").symlink_to(tmp_path / "private.wav")
    (place.input / "in.wav").symlink_to(place.input / "own.wav")
    assert place.run().exit_code == 80
    assert codes(place) == {"out.wav": "LINK_OUTSIDE"}
    assert place.run("--follow-links", "--retry-failed").exit_code == 0
    assert set(place.statuses().values()) == {"complete"}


def test_what_would_never_end_is_not_opened(place, tmp_path):
    """A pipe, a device and a folder in a list fail alone; nobody waits for them."""
    os.mkfifo(tmp_path / "pipe.wav")
    silent_wave(tmp_path / "good.wav", 1)
    places = [str(tmp_path / "pipe.wav"), "/dev/zero", str(tmp_path), str(tmp_path / "good.wav")]
    listed = tmp_path / "list.json"
    assets = [{"id": number, "url": url} for number, url in enumerate(places)]
    listed.write_text(json.dumps({"assets": assets}))
    assert place.run_argv(place.argv_listed(listed, "--json")).exit_code == 80
    assert codes(place) == dict.fromkeys("012", "INPUT_MISSING")


def test_a_source_that_pours_or_drips_without_end_is_left(tmp_path, monkeypatch):
    """Bounded in bytes and in time."""
    monkeypatch.setattr(fetch, "LONGEST_WAIT_S", 0.01)
    monkeypatch.setattr(fetch, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(fetch, "LONGEST_FETCH_S", 0.3)
    with unending_server() as url:
        for path, code in (("/pours", "TOO_LARGE"), ("/drips", "NETWORK_ERROR")):
            with pytest.raises(fetch.FetchFailed) as caught:
                fetch.brought(Asset("x", url + path), tmp_path, 0)
            assert caught.value.code == code


@contextmanager
def unending_server():
    """Answers without end: as fast as it can, or a little at a time."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # the other side has enough
                while True:
                    self.wfile.write(bytes(64 << 10) if self.path == "/pours" else b"x")
                    time.sleep(0.0 if self.path == "/pours" else 0.02)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
