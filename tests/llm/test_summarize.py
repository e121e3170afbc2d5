"""The summary task on a real, very small language model: shapes and limits, not eloquence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tiny_language_model import save_language_model

from batch.stages.enriching import Summarize
from pipelines.asr.whisper.transcript import nothing_heard
from pipelines.errors import EmptyCorpus, ModelNotFound, PipelineError
from pipelines.llm.summarize import SummaryTask


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Very small."""
    return save_language_model(tmp_path_factory.mktemp("model"))


def ready(model_dir: Path, max_new_tokens: int = 8) -> SummaryTask:
    """A task that has been set up, with a question of known words."""
    task = SummaryTask(str(model_dir), instructions="summary", max_new_tokens=max_new_tokens)
    task.setup("cpu")
    return task


def test_a_transcript_gets_a_summary_no_longer_than_asked(model_dir: Path) -> None:
    """The answer only, without the question."""
    said = ready(model_dir).run({"text": "in the beginning"})

    assert said["parts"] == 1
    assert 1 <= len(said["summary"].split()) <= 8


def test_a_transcript_longer_than_the_window_is_read_in_parts(model_dir: Path) -> None:
    """Nothing is cut off: the parts' summaries are summarised."""
    said = ready(model_dir).run({"text": "in the beginning god created " * 100})

    assert said["parts"] >= 5
    assert 1 <= len(said["summary"].split()) <= 8


def test_what_cannot_be_summarised_is_said(model_dir: Path, tmp_path: Path) -> None:
    """No text, no model, no room."""
    with pytest.raises(EmptyCorpus, match="no text"):
        ready(model_dir).run({"text": "  "})
    with pytest.raises(PipelineError, match="window"):
        ready(model_dir, max_new_tokens=100).run({"text": "in"})
    with pytest.raises(ModelNotFound, match="no language model"):
        SummaryTask(str(tmp_path)).setup("cpu")


def test_a_summary_that_fails_is_a_warning_and_empty(model_dir: Path, tmp_path: Path) -> None:
    """As a stage of a batch: what is said stays, and silence is no failure."""
    texts = ("in the beginning", "")
    for number, text in enumerate(texts):
        heard = replace(nothing_heard(1.0), text=text)
        (tmp_path / f"{number}.json").write_text(json.dumps(heard.to_json()))
    packs = {
        "decode": [{"audio": "none"}] * 2,
        "transcribe": [{"transcript": f"{number}.json"} for number in range(2)],
    }
    stages = {name: {"values": {"pack": p}, "folder": str(tmp_path)} for name, p in packs.items()}
    told = {"stages": stages, "folder": str(tmp_path)}

    def said(max_new_tokens: int) -> list[dict[str, Any]]:
        task = Summarize(
            model=str(model_dir), instructions="summary", max_new_tokens=max_new_tokens
        )
        task.setup("cpu")
        pack: list[dict[str, Any]] = task.run(told)["values"]["pack"]
        return pack

    spoken, silent = said(8)
    assert spoken["summary"]
    assert silent == {"summary": ""}
    failed, silent = said(100)
    assert failed["summary"] == ""
    assert "window" in failed["warning"]["message"]
    assert silent == {"summary": ""}
