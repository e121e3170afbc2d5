"""What an operator can set on worker and controller: flags, environment, TOML file, default, in this order.

The environment names are those of the design documents (`WORKER_…`, `REMOTE_WORKER_…`). Starts nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import AnyHttpUrl, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from gitlab_jobs.errors import ConfigError
from gitlab_jobs.settings_sources import load_layers
from web.errors import BadSettings

MEGABYTE = 1_000_000
_CACHE = Path.home() / ".cache" / "scriptorium"


class ServerSettings(BaseSettings):
    """What both servers have; `settings_customise_sources` sets the order of the sources."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        cli_kebab_case=True,
        cli_implicit_flags="toggle",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_exit_on_error=False,
    )

    host: str = Field("127.0.0.1", description="interface to listen on")
    allow_insecure_http: bool = Field(
        default=False, description="let other machines in although nothing is encrypted"
    )
    config: Path | None = Field(None, description="TOML file with these same names")
    keep_hours: float = Field(
        48.0, gt=0, description="finished jobs, their results and cut-off uploads stay so long"
    )
    grace_s: float = Field(30.0, ge=0, description="seconds that running work gets on a stop")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="how much")
    log_format: Literal["text", "json"] = Field("text", description="form of a log line")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class WorkerSettings(ServerSettings):
    """Transcribes what controllers send: `python server_entry.py worker`.

    Every flag is also an environment variable (WORKER_TOKEN, WORKER_MODEL, …) and a key of the
    --config file. One SIGTERM takes no more jobs, gives running ones --grace-s and ends; SIGQUIT lets
    them finish.

    Example: WORKER_TOKEN=… server_entry.py worker --model large-v3 --max-concurrent-jobs 2
    """

    model_config = SettingsConfigDict(
        env_prefix="WORKER_", cli_prog_name="server_entry.py worker", protected_namespaces=()
    )

    port: int = Field(8477, ge=0, le=65535, description="0: any free one")
    token: SecretStr | None = Field(
        None,
        description="what controllers must show; the process list shows it: prefer WORKER_TOKEN",
    )
    data_dir: Path = Field(Path("worker-data"), description="uploads, jobs and results")
    max_concurrent_jobs: int = Field(
        1, ge=1, le=64, description="jobs at once, each a loaded model"
    )
    model: str = Field("large-v3", description='name, directory, or "tiny" (bundled)')
    max_file_mb: int = Field(2000, ge=1, description="largest recording, in MB")
    ping_public: bool = Field(default=False, description="answer /v1/ping without the token")
    engine: Literal["faster-whisper", "openai-whisper"] = "faster-whisper"
    diarization: bool = Field(default=False, description="name speakers for jobs that want it")
    diarizer: Literal["voices", "pyannote"] = Field(
        "voices", description="voices comes with the package; pyannote needs an account (HF_TOKEN)"
    )
    precision: str = Field("auto", description="auto, float32, float16, bfloat16, int8")
    gpus: str = Field("", description='GPUs by number, "0,1"; default: all; "none": the CPU')
    cache_dir: Path = Field(_CACHE, description="models of a hub")


class ControllerSettings(ServerSettings):
    """Takes uploads and jobs, and gives them to a worker: `python server_entry.py controller`.

    Every flag is also an environment variable (REMOTE_WORKER_URL, CONTROLLER_PORT, …) and a key of
    the --config file. A stop leaves running jobs with the worker; the next start follows them.

    Example: REMOTE_WORKER_TOKEN=… server_entry.py controller --remote-worker-url http://gpu1:8477
    """

    model_config = SettingsConfigDict(
        env_prefix="CONTROLLER_", cli_prog_name="server_entry.py controller"
    )

    port: int = Field(8476, ge=0, le=65535, description="0: any free one")
    data_dir: Path = Field(Path("controller-data"), description="uploads, jobs and results")
    max_file_mb: int = Field(2000, ge=1, description="largest recording, in MB")
    remote_worker_url: AnyHttpUrl | None = Field(
        None, description="the worker, e.g. http://gpu-server:8477"
    )
    remote_worker_token: SecretStr | None = Field(
        None, description="the worker's token; prefer the environment"
    )
    remote_worker_mode: Literal["off", "required"] = Field(
        "off", description="off: jobs are refused; required: the worker does them"
    )
    remote_worker_timeout_seconds: float = Field(
        3600, gt=0, description="longest time a job may run"
    )
    remote_worker_poll_seconds: float = Field(
        5, gt=0, description="longest time between two looks at the worker"
    )
    remote_worker_queue_seconds: float = Field(
        24 * 3600, gt=0, description="longest time a job may wait for the worker"
    )


_S = TypeVar("_S", bound=ServerSettings)


def load_settings(kind: type[_S], argv: Sequence[str]) -> _S:
    """Read all sources and check them as a whole.

    Raises:
        BadSettings: exit code 64 for a bad flag, 66 for a missing file, 78 for a bad value, with all problems.
        SystemExit: after `--help`, with 0.
    """
    variables = {
        name.upper(): name for name in kind.model_fields if name.startswith("remote_worker_")
    }
    secrets = [name for name in kind.model_fields if "token" in name]
    try:
        settings = load_layers(kind, argv, variables, secrets)
    except ConfigError as error:
        raise BadSettings(str(error), error.hint, error.exit_code) from error
    if not settings.is_local and not settings.allow_insecure_http:
        raise BadSettings(
            f"--host {settings.host}: tokens and recordings would cross the network unencrypted",
            "keep 127.0.0.1 behind a TLS proxy or an ssh tunnel, or give --allow-insecure-http",
        )
    return settings


def secret(value: SecretStr | None, variable: str) -> str:
    """A secret that has to be there.

    Raises:
        BadSettings: it is not, or is empty.
    """
    text = value.get_secret_value().strip() if value is not None else ""
    if not text:
        raise BadSettings(f"no token: {variable} is not set", f"set {variable} in the environment")
    return text
