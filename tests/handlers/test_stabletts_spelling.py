"""What a manifest says about spelling, from YAML to symbols."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.fake_callbacks import RecordingCallbacks, job_context

from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import Job, Mode
from gitlab_jobs.manifest import parse_manifest
from handlers.tts.stabletts.spelling import open_voice, spelling_of
from pipelines.tts.stabletts.config import ModelConfig
from pipelines.tts.stabletts.model import StableTTS
from pipelines.tts.stabletts.text import FrontEnd, TextSettings
from pipelines.tts.stabletts.vocabulary import build
from pipelines.tts.stabletts.voice import Voice


def job_of(**extra) -> Job:
    """An inference job with some keys that only voices know."""
    return job_context(Mode.INFERENCE, "StableTTS", extra=extra).job


@pytest.fixture
def voice_path(tmp_path):
    """A voice that was trained with one number and one replacement."""
    settings = TextSettings(digits={"3": "tatu"}, replacements={"ŋ": "ng"})
    vocabulary = build(["tatu nne ngoma"], settings)
    torch.manual_seed(0)
    model = StableTTS(replace(ModelConfig.tiny(), n_vocab=len(vocabulary)))
    Voice(model, vocabulary).save(tmp_path / "voice.safetensors")
    return tmp_path / "voice.safetensors"


MANIFEST = """\
version: 1
jobs:
  - job_id: mmkbkzk0_sx1fl0nwmy
    job_type: tts
    mode: training
    model:
      type: StableTTS
    digits:
      1: moja
      10: kumi
      '3½': tatu na nusu
    replacements:
      ŋ: ng'
    keep_case: true
"""


def test_a_manifest_says_how_numbers_are_read():
    """Quoted or not; the longest reading wins."""
    (job,) = parse_manifest(MANIFEST.encode()).jobs
    spelling = spelling_of(job)
    assert spelling == TextSettings(
        keep_case=True,
        replacements={"ŋ": "ng'"},
        digits={"1": "moja", "10": "kumi", "3½": "tatu na nusu"},
    )
    vocabulary = build(["Moja kumi tatu na nusu ng'ombe"], spelling)
    assert vocabulary.encode("10 ŋombe 1") == vocabulary.encode("kumi ng'ombe moja")
    assert vocabulary.encode("M") != vocabulary.encode("m")


def test_a_voice_keeps_its_readings_and_learns_more(voice_path, tmp_path):
    """An inference job may say how a number is read that no recording had."""
    plain = open_voice(voice_path, job_of(), RecordingCallbacks(tmp_path, {})).vocabulary
    assert plain.encode("3 ŋoma") == plain.encode("tatu ngoma")
    assert plain.encode("4").digits == ("4",)
    told = open_voice(
        voice_path, job_of(digits={4: "nne"}), RecordingCallbacks(tmp_path, {})
    ).vocabulary
    assert told.encode("3 4") == plain.encode("tatu nne")


@pytest.mark.parametrize("extra", [{"keep_case": True}, {"replacements": {"a": "b"}}])
def test_a_spelling_cannot_be_changed_after_the_training(voice_path, tmp_path, extra):
    """The voice has never seen it."""
    (key,) = extra
    with pytest.raises(InvalidJob, match=f"{key} belongs to the training"):
        open_voice(voice_path, job_of(**extra), RecordingCallbacks(tmp_path, {}))


@pytest.mark.parametrize(
    "extra",
    [{"digits": "three"}, {"digits": {"3": 4}}, {"digits": {"": "x"}}, {"keep_case": "maybe"}],
    ids=str,
)
def test_a_table_that_is_none_is_refused(extra):
    """Before any work is done, naming the key."""
    (key,) = extra
    with pytest.raises(InvalidJob, match=key):
        spelling_of(job_of(**extra))


@pytest.mark.parametrize(
    ("fields", "front_end"),
    [
        ({}, None),
        ({"use_uroman": False, "language": "yor"}, None),
        ({"use_uroman": True}, FrontEnd.UROMAN_ENGLISH),
        ({"language": " English "}, FrontEnd.ENGLISH),
        ({"language": "zh"}, FrontEnd.CHINESE),
    ],
)
def test_only_a_job_that_says_so_is_spelt_as_older_workers_did(fields, front_end):
    """Everybody else gets the project's own characters."""
    spelling = spelling_of(job_context(Mode.TRAINING, "StableTTS", **fields).job)
    assert (spelling and spelling.front_end) == front_end
