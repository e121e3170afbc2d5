"""The command line of the batch runner: one schema for flags, checks and help. Starts nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from batch.errors import BadUsage
from batch.flags.ray import RaySettings, ray_problem
from batch.flags.remote import RemoteSettings, remote_problem
from batch.flags.run import FORMATS, STATE_NAME, RunSettings
from batch.flags.sinks import SinkSettings
from batch.flags.stages import StageSettings, stage_options, stage_problem
from gitlab_jobs.settings_sources import all_problems

_SHARD = re.compile(r"([1-9]\d*)/([1-9]\d*)")


class BatchSettings(  # the help shows the flags of the last base first
    RaySettings, RemoteSettings, SinkSettings, StageSettings, RunSettings, BaseSettings
):
    """Transcribe a folder, a list or an address of recordings; run the same command again to go on.

    The first TERM or INT finishes what is in flight and exits with 75; a second one ends at once.

    Beside this there are commands of their own, each with its --help: "search" finds passages in transcripts,
    "merge" joins the states of shards, "cancel" ends what was left to a controller.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        cli_kebab_case=True,
        cli_implicit_flags="toggle",
        cli_hide_none_type=True,
        cli_prog_name="batch_entry.py",
        populate_by_name=True,
        defer_build=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags only: a batch must not depend on what else stands in the environment."""
        return (init_settings,)

    @property
    def format_names(self) -> tuple[str, ...]:
        """The wanted outputs; the JSON always, since all others can be made from it again."""
        chosen = [name.strip() for name in self.formats.split(",") if name.strip()]
        proofread = ["formatted", "srt"] if self.refine else []
        return tuple(dict.fromkeys(["json", *chosen, *proofread]))

    @property
    def shard_of(self) -> tuple[int, int]:
        """Which part of how many."""
        found = _SHARD.fullmatch(self.shard)
        return (int(found[1]), int(found[2])) if found else (1, 1)

    @property
    def state_path(self) -> Path:
        """Where the state is: in the input folder if that is one of this machine; each shard its own."""
        if self.state is not None:
            return self.state.absolute()
        name = STATE_NAME
        if self.shard:
            name = "batch_state.{}-of-{}.json".format(*self.shard_of)
        return self._home.absolute() / name

    @property
    def output_dir(self) -> Path:
        """Where results go."""
        return (self.output or self._home).absolute()

    @property
    def _home(self) -> Path:
        if self.input and "://" not in self.input:
            place = Path(self.input)
            return place if place.is_dir() else place.parent
        if self.assets:
            return self.output or self.assets.parent
        return self.output or Path.cwd()

    def options_hash(self) -> str:
        """A short name for everything that changes what is written about a recording."""
        names = ("engine", "model", "language", "mode", "beam", "words", "remove_fillers")
        options = {name: getattr(self, name) for name in names} | stage_options(self)
        for name in ("vocabulary", "replacements"):
            path: Path | None = getattr(self, name)
            options[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path else None
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]

    def shown(self) -> dict[str, Any]:
        """The options as they stand in the state file."""
        return self.model_dump(
            mode="json",
            exclude={
                "database",
                "redo_sinks",
                "webhook",
                "email",
                "smtp",
                "refine_key_file",
                "cache_dir",
                "yes",
                "metrics_port",
                "metrics_host",
            },
        )


def load_settings(argv: Sequence[str]) -> BatchSettings:
    """Read the command line.

    Raises:
        BadUsage: with every problem, not only the first.
        SystemExit: after `--help`, with 0.
    """
    try:
        cli: CliSettingsSource[Any] = CliSettingsSource(BatchSettings, cli_parse_args=list(argv))
        settings = BatchSettings(_cli_settings_source=cli)
    except SettingsError as error:
        raise BadUsage(str(error), "see --help for all flags") from error
    except ValidationError as error:
        raise BadUsage(all_problems(error), "see --help for what is allowed") from error
    problem = _contradiction(settings)
    if problem:
        raise BadUsage(problem, "see --help")
    return settings


def _contradiction(settings: BatchSettings) -> str:
    if (settings.input is None) == (settings.assets is None):
        return "either --input or --assets is needed"
    unknown = set(settings.format_names) - set(FORMATS)
    if unknown:
        return f"--formats: {', '.join(sorted(unknown))} is none of {', '.join(FORMATS)}"
    part, parts = settings.shard_of
    if settings.shard and (not _SHARD.fullmatch(settings.shard) or part > parts):
        return f"--shard: expected i/N with i from 1 to N, got {settings.shard!r}"
    ray = ray_problem(settings, settings.isolation, is_remote=settings.remote)
    return ray or stage_problem(settings) or remote_problem(settings)
