"""What an operator can set on the daemon: one schema for flags, environment, file, help and docs.

Precedence: command line, environment, TOML file, default. The design documents' own variable names
(`GITLAB_TOKEN`, `WORKER_ID`, …) are read beside the prefixed ones. Knows no adapter and starts nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from gitlab_jobs.errors import ConfigError
from gitlab_jobs.settings_sources import EXIT_NO_INPUT, load_layers

PLAIN_VARIABLES = {
    "GITLAB_URL": "gitlab_url",
    "GITLAB_TOKEN": "token",
    "WORKER_ID": "worker_id",
    "WORK_DIR": "work_dir",
}
"""Variables of the design documents; the prefixed ones win over them."""


class ModelSettings(BaseModel):
    """What a model family starts from on this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(
        description='hub id, local directory, or "tiny" (a small preset from scratch)'
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto takes a GPU when there is one"
    )
    precision: str = Field("auto", description="auto, float32, bfloat16, int8 …")


class RecogniserSettings(ModelSettings):
    """The same, and what follows a training."""

    corrector: Literal["own", "transmorgrifier", "best"] = Field(
        "best",
        description="what a job's transmorgrifier trains; best tries both if CatBoost is installed",
    )


class WhisperSettings(ModelSettings):
    """The same, and what else Whisper's jobs do."""

    diarization: bool = Field(
        default=False, description="name the speakers in the subtitles of Whisper's jobs"
    )


class SpeakingSettings(ModelSettings):
    """The same, and how a voice speaks."""

    solver: Literal["euler", "midpoint", "rk4", "dopri5"] = Field(
        "euler",
        description="how sound is drawn: one, two or four looks a step, or as many as it takes",
    )
    steps: int = Field(
        10, ge=1, le=1000, description="steps of a solver; dopri5 chooses its own number"
    )
    compile: bool = Field(
        default=False,
        description="compile the network before a voice speaks; for GPUs and many verses",
    )


class FamilySettings(BaseModel):
    """The model families that a manifest can name, in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    w2v2bert: RecogniserSettings = RecogniserSettings(base="facebook/w2v-bert-2.0")
    whisper: WhisperSettings = WhisperSettings(base="large-v3")
    stabletts: SpeakingSettings = SpeakingSettings(base="KdaiP/StableTTS1.1")

    def of(self, family: str) -> ModelSettings | None:
        """The settings of one family, or None if there is no such family."""
        found: ModelSettings | None = getattr(self, family, None)
        return found


class WorkerSettings(BaseSettings):
    """Claims speech jobs from GitLab projects, runs them, and writes the results back.

    Every flag is also an environment variable (SCRIPTORIUM_WORK_DIR; nested names with two
    underscores: SCRIPTORIUM_MODELS__WHISPER__BASE) and a key of the --config file. One SIGTERM stops
    politely: running jobs save their work; a second one stops at once. SIGQUIT drains: running jobs
    finish, no new ones start.

    Example: worker_entry.py --gitlab-url https://gitlab.example.org --token-file token.txt
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="SCRIPTORIUM_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
        env_ignore_empty=True,
        cli_kebab_case=True,
        cli_implicit_flags="toggle",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_prog_name="worker_entry.py",
        cli_exit_on_error=False,
        defer_build=True,
    )

    gitlab_url: str | None = Field(
        None, description="root of the GitLab server; there is no built-in one (or GITLAB_URL)"
    )
    token: SecretStr | None = Field(
        None,
        description="access token with scope `api`; the process list shows it: prefer GITLAB_TOKEN "
        "or --token-file",
    )
    token_file: Path | None = Field(
        None, description="file that holds the token, readable by its owner only"
    )
    worker_id: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=100,
        description="name of this box in responses (or WORKER_ID)",
    )
    work_dir: Path = Field(
        Path("work"), description="job directories, cache and state (or WORK_DIR)"
    )
    loop_interval: float = Field(
        300, description="seconds between polls; -1: do what there is, then exit"
    )
    max_concurrent_jobs: int | None = Field(
        None, ge=1, description="jobs at once; by default one per usable GPU, 1 without a GPU"
    )
    gpus: str | None = Field(
        None,
        description="GPUs for jobs: indexes, UUIDs, MIG ids or their beginnings, with commas; "
        'all by default, "none" for the processor',
    )
    allow_cpu: bool = Field(
        default=False, description="run on the processor where the GPUs cannot be used"
    )
    keep_warm: float = Field(
        600,
        ge=0,
        description="seconds that a process keeps its model for the next inference job; 0: not at all",
    )
    job_memory_gb: float | None = Field(
        None,
        gt=0,
        description="main memory one job may hold, with all that it starts; enforced by a control "
        "group where this machine lends one, else by looking every two seconds",
    )
    keep_jobs: int = Field(5, ge=-1, description="finished job directories to keep; -1: all")
    project_dir: Path | None = Field(
        None, description="work on this local checkout instead of a GitLab server"
    )
    config: Path | None = Field(None, description="TOML file with these same names")
    check: bool = Field(
        default=False, description="look at all that the daemon needs, report, exit"
    )
    plan: bool = Field(default=False, description="show what would be done; write nothing, exit")
    heartbeat_s: float = Field(300, gt=0, description="seconds between lease renewals")
    watch_s: float = Field(30, gt=0, description="seconds between looks for a cancel")
    lease_s: int = Field(1800, gt=0, description="a lease older than this may be taken over")
    grace_s: float = Field(30, gt=0, description="seconds a stopping job has to save its work")
    request_s: float = Field(
        300, gt=0, description="seconds to keep trying one request before its caller hears of it"
    )
    rest_s: float = Field(
        300, gt=0, description="longest rest from a server that keeps failing, in seconds"
    )
    progress_s: float = Field(
        3600, gt=0, description="seconds without a sign of progress until a job counts as hung"
    )
    publish_s: float = Field(
        6 * 3600, gt=0, description="seconds to keep trying to write a job's end"
    )
    checkpoint_upload_s: float = Field(
        3600,
        ge=0,
        description="seconds between saves of a running job to its folder: log, loss curve, and the "
        "training's state for other boxes; 0: nothing before its end",
    )
    checkpoint_upload_gb: float = Field(
        20,
        ge=0,
        description="a job's training states take up at most this much on the server, in GB",
    )
    handlers_dir: Path | None = Field(
        None, description="further handler files, searched before the built-in ones"
    )
    max_attempts: int = Field(3, ge=1, description="claims a job may have before it is failed")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="serve Prometheus metrics on this port; 0: any free one"
    )
    metrics_host: str = Field(
        "127.0.0.1", description="interface for the metrics; they are not protected"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="how much to log"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="form of a log line on standard error"
    )
    models: FamilySettings = Field(FamilySettings(), description="base models per family")


def load_settings(argv: Sequence[str]) -> WorkerSettings:
    """Read all sources and check them as a whole.

    Raises:
        ConfigError: exit code 64 for a bad flag, 66 for a missing file, 78 for a bad value; the text
            names every problem, not only the first.
        SystemExit: after `--help`, with 0.
    """
    return load_layers(WorkerSettings, argv, PLAIN_VARIABLES, secrets=("token",))


def read_token(settings: WorkerSettings) -> str:
    """The access token, from `--token-file` or the setting; raises `ConfigError` if there is none."""
    if settings.token_file is not None:
        try:
            mode = settings.token_file.stat().st_mode
            token = settings.token_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot read the token file {settings.token_file}: {error}",
                hint="check the path and its owner",
                exit_code=EXIT_NO_INPUT,
            ) from error
        if mode & 0o077:
            raise ConfigError(
                f"the token file {settings.token_file} is readable by others",
                hint=f"chmod 600 {settings.token_file}",
            )
        return _not_empty(token, f"the token file {settings.token_file}")
    if settings.token is None:
        raise ConfigError(
            "no access token", hint="set GITLAB_TOKEN or --token-file (scope `api` is needed)"
        )
    return _not_empty(settings.token.get_secret_value(), "the access token")


def shows_token(argv: Sequence[str]) -> bool:
    """Whether the token stands on the command line, where every user of the machine can read it."""
    return any(word == "--token" or word.startswith("--token=") for word in argv)


def _not_empty(token: str, where: str) -> str:
    if not token.strip():
        raise ConfigError(f"{where} is empty", hint="it holds the token and nothing else")
    return token.strip()
