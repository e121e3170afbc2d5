"""An optional stage of a batch that says who speaks without listening: one speaker, called after the file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from batch.stages.enriching import Enrichment, Waiting
from batch.stages.extras import Extra
from batch.stages.tasks import Told, write_transcript
from pipelines.asr.diarize.turns import Turn
from pipelines.asr.whisper.speakers import with_speakers
from pipelines.errors import PipelineError
from runner.task import TaskSpec

ROOTS = (Path(__file__).parents[2], Path(__file__).parents[1])


class Tag(Enrichment):
    """Fails for "shy" files, and dies at "fatal" ones."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def add(self, one: Waiting) -> Told:
        heard = one.heard()
        if "fatal" in heard.text:
            os.abort()
        if "shy" in heard.text:
            raise PipelineError("it is shy")
        turn = Turn(0.0, 2.0, heard.text)
        turns = one.target.with_suffix(".turns.json")
        turns.write_text(json.dumps([{"start_s": 0.0, "end_s": 2.0, "speaker": heard.text}]))
        named = with_speakers(heard, [turn])
        return {**write_transcript(named, one.target.with_suffix(".json")), "turns": turns.name}


class Absent:
    """Cannot be set up."""

    def setup(self, device: str) -> None:
        raise PipelineError("there are no weights")

    def run(self, told: Told) -> Told:
        return told


def extra(name: str) -> Extra:
    """A stage by the name of its class here."""
    return Extra("diarize", TaskSpec(f"support.batch_extras:{name}", {}, ROOTS))
