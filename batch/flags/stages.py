"""The flags of what may be added to a transcript: speakers, words' times, proofreading, a summary. Starts nothing.

--align MODEL          words get their times from a CTC model of the recordings' language
--diarization          who speaks, in every output and as RTTM
--summary MODEL        a few sentences by a language model of this machine
--refine WHO           a proofread copy of text and subtitles, by a language model anywhere

All four are optional for a file too: one that fails is a warning, and the transcript is written.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from pipelines.asr.diarize.turns import SpeakerCount
from pipelines.errors import ModelNotFound
from pipelines.llm.endpoint import Endpoint, Wire, parse_model

_SPEAKERS = re.compile(r"(\d+)(?:-(\d+))?")


class StageSettings(BaseModel):
    """What is wanted besides the transcript."""

    diarization: bool = Field(
        default=False, description="name the speakers (in json, formatted, srt, vtt) and write RTTM"
    )
    speakers: str = Field(
        "", description="how many speak in each recording: 2, or 2-4; default: as many as are heard"
    )
    diarizer: Literal["voices", "pyannote"] = Field(
        "voices", description="voices comes with the package; pyannote needs an account (HF_TOKEN)"
    )
    diarization_max_duration: float = Field(
        600.0,
        ge=10.0,
        description="seconds of sound in memory at once; pyannote takes no longer recording",
    )
    align: str = Field(
        "", description="CTC model, by name or directory, that gives words exact times"
    )
    summary: str = Field(
        "",
        description="language model of this machine, by name or directory, that writes summaries",
    )
    refine: str = Field(
        "",
        description="who proofreads: openai:MODEL, bedrock:MODEL, or the URL of a server that speaks "
        "OpenAI's chat completions (…/v1)",
    )
    refine_model: str = Field(
        "", description="model that the server of a --refine URL is asked for"
    )
    refine_key_file: Path | None = Field(
        None, description="file with its key; default: OPENAI_API_KEY, or what AWS' tools use"
    )
    refine_region: str = Field("us-east-1", description="AWS region of a --refine bedrock:MODEL")
    refine_parallel: int = Field(
        4, ge=1, le=64, description="files that are proofread at the same time"
    )


def speaker_count(settings: StageSettings) -> SpeakerCount:
    """How many speakers there are, as far as the command line says.

    Raises:
        ValueError: it does not say a number or two.
    """
    if not settings.speakers:
        return SpeakerCount()
    found = _SPEAKERS.fullmatch(settings.speakers)
    if found is None:
        raise ValueError(f"expected a number, or two such as 2-4, got {settings.speakers!r}")
    if found[2] is None:
        return SpeakerCount(exactly=int(found[1]))
    return SpeakerCount(least=int(found[1]), most=int(found[2]))


def endpoint_of(settings: StageSettings) -> Endpoint:
    """Who proofreads; the key is read from its file only when it is used.

    Raises:
        ModelNotFound: nobody is named, or not completely.
    """
    parts = urlsplit(settings.refine)
    if parts.scheme not in ("http", "https"):
        wire, model = parse_model(settings.refine)
        return Endpoint(wire, model, region=settings.refine_region)
    if not settings.refine_model:
        raise ModelNotFound("a server needs --refine-model, the name of the model to ask for")
    if parts.username or parts.password or parts.query:
        raise ModelNotFound("a key does not belong into the URL; see --refine-key-file")
    return Endpoint(Wire.OPENAI, settings.refine_model, url=settings.refine)


def stage_options(settings: StageSettings) -> dict[str, Any]:
    """What changes the outputs, for the options' short name; no secret is among it."""
    options: dict[str, Any] = {}
    if settings.diarization:
        options["speakers"] = (settings.diarizer, settings.speakers)
    for name in ("align", "summary"):
        if getattr(settings, name):
            options[name] = getattr(settings, name)
    if settings.refine:
        options["refine"] = (settings.refine, settings.refine_model)
    return options


def wanted_steps(settings: StageSettings) -> list[str]:
    """What is wanted besides the transcript, in words and in its order."""
    steps = []
    if settings.align:
        steps.append(f"times of words by {settings.align}")
    if settings.diarization:
        count = settings.speakers or "as many as are heard"
        steps.append(f"speakers by {settings.diarizer} ({count}), RTTM")
    if settings.summary:
        steps.append(f"a summary by {settings.summary}")
    if settings.refine:
        steps.append(f"a copy proofread by {settings.refine_model or settings.refine}")
    return steps


def stage_problem(settings: StageSettings) -> str:
    """What of these flags cannot be meant; empty if all can."""
    if settings.speakers and not settings.diarization:
        return "--speakers says nothing without --diarization"
    try:
        speaker_count(settings)
    except ValueError as error:
        return f"--speakers: {error}"
    if settings.refine:
        try:
            endpoint_of(settings)
        except ModelNotFound as error:
            return f"--refine: {error}"
    elif settings.refine_model or settings.refine_key_file:
        return "--refine-model and --refine-key-file say nothing without --refine"
    return ""
