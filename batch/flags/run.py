"""The flags of a run itself: what is transcribed, by whom, into what, and what is done again. Starts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, Field

STATE_NAME = "batch_state.json"
FORMATS = ("json", "txt", "formatted", "srt", "vtt", "tsv")


class RunSettings(BaseModel):
    """Recordings in, transcripts out."""

    input: str | None = Field(None, description="folder, file, or URL (s3://, https://, file://)")
    assets: Path | None = Field(
        None, description="list of assets, such as assets_without_embeddings.json; never edited"
    )
    asset_url: str = Field("", description="where assets are, e.g. s3://bucket/{id}.mp3")
    output: Path | None = Field(None, description="where results go; default: beside the input")
    state: Path | None = Field(None, description=f"state file; default: {STATE_NAME} in the input")
    threads: int = Field(
        0, ge=0, validation_alias=AliasChoices("t", "threads"),
        description="workers, each with the model loaded; 0: one per GPU, or one on the CPU",
    )  # fmt: skip
    model: str = Field(
        "large-v3", validation_alias=AliasChoices("m", "model"),
        description='name, directory, or "tiny" (bundled)',
    )  # fmt: skip
    yes: bool = Field(
        default=False, validation_alias=AliasChoices("y", "yes"),
        description="go on where somebody would be asked",
    )  # fmt: skip
    gpus: str = Field("", description='GPUs by number, "0,1"; default: all; "none": the CPU')
    skip: int = Field(0, ge=0, description="leave out so many files at the start of the list")
    parallel: int = Field(
        0, ge=0, description="packs of files in flight; 0: as many as keep workers busy"
    )
    engine: Literal["faster-whisper", "openai-whisper", "whisper.cpp"] = "faster-whisper"
    precision: str = Field("auto", description="auto, float32, float16, bfloat16, int8")
    language: str | None = Field(
        None, description="code such as en; default: detected in each file"
    )
    mode: Literal["batched", "sequential"] = Field("batched", description="how recordings are cut")
    beam: int = Field(5, ge=1, le=20, description="beam width of the decoder")
    words: bool = Field(default=True, description="whether words get times")
    vocabulary: Path | None = Field(None, description="whisper_vocabulary.json")
    replacements: Path | None = Field(None, description="replacement_map.json")
    remove_fillers: bool = Field(
        default=False, description="leave out the vocabulary's filter_words"
    )
    formats: str = Field("json,txt,formatted,srt", description=f"of {', '.join(FORMATS)}")
    isolation: Literal["auto", "pool", "stage", "file"] = Field(
        "auto",
        description="keep workers (pool), or give memory back after a stage or a file; auto: keep them "
        "if all fit by measured memory, else after a stage",
    )
    pack: int = Field(32, ge=1, description="short files that travel together at most")
    shard: str = Field("", description="i/N: the i-th of N equal parts of the work")
    redo_changed: bool = Field(
        default=False, description="do files again that were done with other options"
    )
    retry_failed: bool = Field(default=False, description="try files again that failed for good")
    verify: bool = Field(
        default=False, description="tell changed recordings by their bytes, not by size and time"
    )
    skip_duplicates: bool = Field(
        default=False, description="transcribe recordings of the same bytes once, for all of them"
    )
    follow_links: bool = Field(
        default=False, description="also take files that links name outside the input folder"
    )
    max_hours: float = Field(
        24.0, gt=0.0, le=168.0, description="a recording that decodes to more fails"
    )
    retry_canceled: bool = Field(default=False, description="do canceled files")
    fail_fast: bool = Field(default=False, description="stop at the first failure")
    max_failures: int = Field(0, ge=0, description="stop after so many failures; 0: never")
    json_events: bool = Field(
        default=False,
        validation_alias=AliasChoices("json"),
        description="one JSON line per event on stdout",
    )
    dry_run: bool = Field(default=False, description="only say what would be done")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="serve Prometheus metrics on this port; 0: any free one"
    )
    metrics_host: str = Field("127.0.0.1", description="interface for the metrics")
    webhook: str = Field("", description="URL that is told the end as JSON")
    email: str = Field("", description="address that is told the end")
    smtp: str = Field("localhost:25", description="mail server for --email")
    cache_dir: Path = Field(Path.home() / ".cache" / "scriptorium", description="models of a hub")
