"""What a voice job does with what it should never have been given: it says so, verse by verse."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from selectolax.lexbor import LexborHTMLParser
from support.codex_builders import PATH, Json, as_bytes, cell, document, recorded, take
from support.hostile_media import write_hostile_media
from support.speech import spoken_clips

from gitlab_jobs.job import Job, JobType, Mode, ModelSpec
from gitlab_jobs.local_objects import LocalObjects
from gitlab_jobs.local_tree import LocalTree
from gitlab_jobs.settings import FamilySettings, SpeakingSettings
from gitlab_jobs.testing import HandlerEnvironment, HandlerRun
from handlers.tts.stabletts import inference, training
from pipelines.errors import BadCheckpoint

POINTERS = ".project/attachments/pointers/MAT/"
CLIPS = spoken_clips(longest_s=3.0)
CHECKPOINT = "gpu_jobs/job_old/checkpoint/best_model.pt"


class Checkout:
    """A project in a folder, and voice jobs on it."""

    def __init__(self, root: Path, cells: list[Json], files: dict[str, bytes]) -> None:
        self.root = root / "checkout"
        self._work_dir = root / "work"
        for path, content in {PATH: as_bytes(document(*cells)), **files}.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_bytes(content)

    def publish(self, content: bytes) -> None:
        """Make a file the checkpoint of an earlier job: an object with its pointer."""
        scratch = self.root.parent / "object"
        scratch.write_bytes(content)
        pointer = LocalObjects(LocalTree(self.root)).keep(scratch)
        target = self.root / CHECKPOINT
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(pointer.text())

    def run(self, handler: Any, mode: Mode, **fields: Any) -> HandlerRun:
        """Run a job; `base_checkpoint` goes into its model."""
        model = ModelSpec(type="StableTTS", base_checkpoint=fields.pop("base_checkpoint", None))
        job = Job(job_id="try", job_type=JobType.TTS, mode=mode, model=model, **fields)
        models = FamilySettings(stabletts=SpeakingSettings(base="tiny"))
        environment = HandlerEnvironment(self.root, work_dir=self._work_dir, models=models)
        return environment.run(handler, job)

    @property
    def notebook(self) -> Any:
        """The notebook as it is now."""
        return json.loads((self.root / PATH).read_bytes())

    def report(self) -> str:
        """The text of the job's report."""
        html = (self.root / "gpu_jobs/job_try/report.html").read_text("utf-8")
        return LexborHTMLParser(html).body.text(separator=" ")


def test_forty_broken_recordings_cost_forty_verses_and_nothing_else(tmp_path):
    """The voice is trained on the good ones; each bad one is named with its own reason."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    bad = write_hostile_media(scratch)
    assert len(bad) == 40
    sounds = [clip.path.read_bytes() for clip in CLIPS]
    sounds += [(scratch / name).read_bytes() for name in bad]
    texts = [clip.text for clip in CLIPS] + ["the word"] * len(bad)
    cells = [
        recorded(str(n), text, attachments=take(f"audio-{n}")) for n, text in enumerate(texts, 1)
    ]
    files = {f"{POINTERS}audio-{n}.webm": sound for n, sound in enumerate(sounds, 1)}
    project = Checkout(tmp_path, cells, files)
    before = project.notebook
    done = project.run(training, Mode.TRAINING, epochs=1)
    assert done.result is not None
    assert done.result.facts["training_verses"] == len(CLIPS)
    assert done.result.facts["training_verses_skipped"] == len(bad)
    told = project.report()
    for number, what in enumerate(bad, len(CLIPS) + 1):
        assert f"MAT 1:{number} " in told, what
    assert project.notebook == before
    assert {path: (project.root / path).read_bytes() for path in files} == files


def test_texts_that_cannot_be_spoken_are_named_one_by_one(tmp_path, whole):
    """Empty, only signs, another script, numbers, markup around nothing; the rest is spoken."""
    texts = {
        "1": "the word.", "2": "", "3": "<p></p>", "4": "…!?", "5": "太初有道", "6": "in 1455",
        "7": "&nbsp;", "8": "\u200b",
    }  # fmt: skip
    cells = [cell(number, text) for number, text in texts.items()]
    project = Checkout(tmp_path, cells, sounds())
    project.publish(whole)
    done = project.run(inference, Mode.INFERENCE, base_checkpoint=CHECKPOINT)
    assert done.result is not None
    named = " | ".join(done.result.facts["skipped"])
    for line in (
        "MAT 1:4: its text has nothing to say",
        "MAT 1:5: the voice does not know most of it: 太 初 有 道",
        "MAT 1:6: nobody said how to read 1 4 5",
    ):
        assert line in named
        assert line.partition(": ")[2] in project.report()
    spoken = [
        one["metadata"]["id"]
        for one in project.notebook["cells"]
        if one["metadata"].get("attachments")
    ]
    assert set(spoken) <= {"1"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """A voice that works."""
    return trained(tmp_path_factory.mktemp("whole"))


class Trap:
    """What a malicious checkpoint would run."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.target,))


def broken(kind: str, whole: bytes, tmp_path: Path) -> bytes:
    """A file at a checkpoint's place."""
    trap, path = Trap(tmp_path / "pwned"), tmp_path / "made.pt"
    if kind == "a trap":
        torch.save({"model": trap}, path)
        return path.read_bytes()
    if kind == "another model":
        torch.save({"encoder.weight": torch.zeros(2)}, path)
        return path.read_bytes()
    if kind == "weights that are no numbers":
        torch.save({"fake_speaker": "text"}, path)
        return path.read_bytes()
    return {
        "a bare pickle": pickle.dumps(trap),
        "half a voice": whole[: len(whole) // 2],
        "a header of 1 TB": (1 << 40).to_bytes(8, "little") + whole[8:],
        "damaged words": whole.replace(b'\\"vocabulary\\"', b'\\"vocabulari\\"', 1),
        "noise": bytes(range(256)) * 40,
        "text": b"no model here",
        "one byte": b"\0",
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["a trap", "a bare pickle", "half a voice", "a header of 1 TB", "damaged words", "noise",
     "text", "one byte", "another model", "weights that are no numbers"],
)  # fmt: skip
@pytest.mark.parametrize("handler", [inference, training], ids=["speaking", "training"])
def test_a_checkpoint_that_is_none_ends_the_job_in_words(tmp_path, whole, kind, handler):
    """Nothing in it is run, nothing in the project changes."""
    content = broken(kind, whole, tmp_path)
    assert content != whole
    project = Checkout(tmp_path, [cell("1", "the word."), *cells()], sounds())
    project.publish(content)
    before = {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}
    mode = Mode.INFERENCE if handler is inference else Mode.TRAINING
    with pytest.raises(BadCheckpoint) as refused:
        project.run(handler, mode, base_checkpoint=CHECKPOINT)
    said = str(refused.value)
    assert 10 < len(said) < 300
    assert not re.search("[0-9a-f]{40}|torch|weights_only|pickle", said)
    assert str(tmp_path) not in str(refused.value)
    assert not (tmp_path / "pwned").exists()
    assert {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()} == before


def cells() -> list[Json]:
    """Recorded verses to learn from."""
    return [
        recorded(str(n), clip.text, attachments=take(f"audio-{n}"))
        for n, clip in enumerate(CLIPS, 51)
    ]


def sounds() -> dict[str, bytes]:
    """Their recordings."""
    return {f"{POINTERS}audio-{n}.webm": clip.path.read_bytes() for n, clip in enumerate(CLIPS, 51)}


def trained(root: Path) -> bytes:
    """A voice that was trained for an epoch."""
    project = Checkout(root, cells(), sounds())
    done = project.run(training, Mode.TRAINING, epochs=1)
    assert done.result is not None
    (path,) = (root / "work" / "job_try").rglob("best*/voice.safetensors")
    return path.read_bytes()
