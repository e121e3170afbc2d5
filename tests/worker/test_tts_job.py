"""A voice from beginning to end: real clips in a real project, the real daemon, takes that the editor plays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import requests
from support.codex_builders import PATH, Json, as_bytes, cell, document, recorded, take
from support.devserver import project
from support.job_world import PROJECT, TRACKED, JobWorld
from support.manifests import entry
from support.speech import SpokenClip, spoken_clips

from gitlab_jobs.lfs import parse_pointer
from pipelines.audio.decode import decode

POINTERS = ".project/attachments/pointers/MAT/"
CLIPS = spoken_clips(longest_s=4.0)
NEW_TEXTS = {"51": "has never been surpassed.", "52": "<p>The earliest <b>printed</b> books.</p>"}
CHARACTERS_PER_S = 14.0  # of an English reader


@dataclass(frozen=True, slots=True)
class Finished:
    """The project after its first job; `cells` as that job left them, by id."""

    world: JobWorld
    cells: dict[str, Json]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """Recorded verses, two verses with text only, an empty and a locked one; and one job done."""
    files: dict[str, Any] = {
        ".gitattributes": TRACKED + TRACKED.replace("webm", "flac"),
        PATH: as_bytes(_notebook()),
        "metadata.json": "{}",
    }
    for number, clip in enumerate(CLIPS, start=1):
        files[f"{POINTERS}audio-{number}.flac"] = clip.path.read_bytes()
    directory = tmp_path_factory.mktemp("tts")
    with JobWorld(directory, project(PROJECT, files=files)) as world:
        world.submit(_job("voice1", mode="training_and_inference", epochs=30))
        _run(world)
        yield Finished(world, _cells(world))


def test_the_job_is_completed_with_a_voice(finished: Finished) -> None:
    """The model that the response names is there, as a pointer, with the curve beside it."""
    world = finished.world
    response = world.response("voice1")
    assert response["state"] == "completed", response
    assert response["epochs_completed"] == 30
    checkpoint = response["result"]["checkpoint_path"]
    assert checkpoint == "gpu_jobs/job_voice1/checkpoint/best_model.pt"
    content = world.read(checkpoint)
    assert content is not None
    assert parse_pointer(content) is not None
    assert "Spoke 2 of 2 verses." in response["status_message"]
    curve = world.read("gpu_jobs/job_voice1/checkpoint/training_metrics.csv")
    assert curve is not None
    assert curve.startswith(b"epoch,train_total_loss,")
    report = world.read("gpu_jobs/job_voice1/report.html")
    assert report is not None
    assert report.count(b"<audio") == 2
    folder = [path for path in world.files() if path.startswith("gpu_jobs/job_voice1/")]
    assert not [path for path in folder if path.endswith(".json")]


def test_every_new_take_is_one_pointer_that_can_be_played(finished: Finished) -> None:
    """Selected in its cell, decodable, and about as long as its text."""
    world = finished.world
    for cell_id, text in NEW_TEXTS.items():
        metadata = finished.cells[cell_id]["metadata"]
        ((take_id, attachment),) = metadata["attachments"].items()
        assert metadata["selectedAudioId"] == take_id
        assert attachment["createdBy"] == "worker"
        path = attachment["url"].replace("/files/", "/pointers/")
        pointer = world.read(path)
        assert pointer is not None
        assert parse_pointer(pointer) is not None
        sound = _object(world, path)
        assert len(sound) == attachment["metadata"]["sizeBytes"]
        local = world.directory / f"{cell_id}.webm"
        local.write_bytes(sound)
        duration_s = decode(local).duration_s
        assert duration_s == pytest.approx(attachment["metadata"]["durationSec"], abs=0.1)
        assert 0.3 < duration_s / (len(text) / CHARACTERS_PER_S) < 3


def test_nothing_that_people_made_is_touched(finished: Finished) -> None:
    """Recorded, empty and locked verses are as they were, key for key."""
    after = finished.cells
    for json_cell in _notebook()["cells"]:
        cell_id = json_cell["metadata"]["id"]
        if cell_id not in NEW_TEXTS:
            assert after[cell_id] == json_cell
        else:
            assert after[cell_id]["value"] == json_cell["value"]
            assert after[cell_id]["metadata"]["edits"] == json_cell["metadata"]["edits"]


def test_a_later_job_adds_nothing_and_a_chosen_voice_is_found(finished: Finished) -> None:
    """All verses have a recording now; a listed one is spoken again, in the voice the user picked."""
    world, before = finished.world, finished.cells
    voice = {"type": "StableTTS", "base_checkpoint": "gpu_jobs/job_voice1/checkpoint/best_model.pt"}
    windows = rf"C:\Users\ana\bible\.project\attachments\files\MAT\audio-{len(CLIPS)}.flac"
    again = _job("voice2", mode="inference", model=voice)
    redo = _job(
        "voice3",
        mode="inference",
        model=voice,
        voice_reference=windows,
        inference={"include_verses": ["52"]},
        submitted_at="2099-01-01T00:00:00.000Z",
    )
    lost = _job("voice4", mode="inference", model=voice, voice_reference="audio-77.webm")
    lost["inference"] = {"include_verses": ["52"]}
    world.submit(again, redo, lost)
    _run(world)
    assert "No verse" in world.response("voice2")["status_message"]
    result = world.response("voice3")["result"]
    assert result["voice_reference"] == f"audio-{len(CLIPS)}.flac"
    assert world.response("voice4")["state"] == "failed"
    assert "chosen as the voice" in world.response("voice4")["error_message"]
    after = _cells(world)
    assert len(after["52"]["metadata"]["attachments"]) == 2
    assert {k: v for k, v in after.items() if k != "52"} == {
        k: v for k, v in before.items() if k != "52"
    }


def test_training_and_speaking_again_adds_nothing(finished: Finished) -> None:
    """A second whole run learns from people's recordings only, and finds every verse spoken."""
    world, before = finished.world, _cells(finished.world)
    takes = [path for path in world.files() if path.startswith(POINTERS)]
    world.submit(_job("voice9", mode="training_and_inference", epochs=1))
    _run(world)
    response = world.response("voice9")
    assert response["state"] == "completed", response
    assert "No verse" in response["status_message"]
    assert response["result"]["training_verses"] == len(CLIPS)
    assert _cells(world) == before
    assert [path for path in world.files() if path.startswith(POINTERS)] == takes


def _notebook() -> Json:
    cells = [_recorded(number, clip) for number, clip in enumerate(CLIPS, start=1)]
    cells += [cell(cell_id, text) for cell_id, text in NEW_TEXTS.items()]
    locked = cell("54", "This is locked.", isLocked=True)
    return document(*cells, cell("53"), locked)


def _recorded(number: int, clip: SpokenClip) -> Json:
    url = f".project/attachments/files/MAT/audio-{number}.flac"
    return recorded(str(number), clip.text, attachments=take(f"audio-{number}", url=url))


def _job(job_id: str, **fields: Any) -> dict[str, Any]:
    return entry(job_id=job_id, **fields)


def _run(world: JobWorld) -> None:
    """Let a daemon with nothing but our own handlers do all there is, on the tiny preset."""
    handlers = world.directory / "no-handlers"
    handlers.mkdir(exist_ok=True)
    base = {"SCRIPTORIUM_MODELS__STABLETTS__BASE": "tiny"}
    with world.run_worker("--handlers-dir", str(handlers), environment=base) as daemon:
        assert daemon.wait(100) == 0, daemon.log


def _cells(world: JobWorld) -> dict[str, Json]:
    content = world.read(PATH)
    assert content is not None
    return {one["metadata"]["id"]: one for one in json.loads(content)["cells"]}


def _object(world: JobWorld, path: str) -> bytes:
    """The bytes behind a pointer, as a browser gets them."""
    place = f"projects/{quote(PROJECT, safe='')}/repository/files/{quote(path, safe='')}/raw"
    reply = requests.get(
        world.server.api(place),
        params={"ref": "main", "lfs": "true"},
        headers=world.server.headers("translator"),
        timeout=30,
    )
    reply.raise_for_status()
    return reply.content
