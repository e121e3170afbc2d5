"""Reads a program's settings: flags, environment, variables of other names, a TOML file, defaults, in this order.

Which settings there are, and what they mean, is the caller's class. Names of the file may have dashes.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from gitlab_jobs.errors import ConfigError

EXIT_USAGE = 64
EXIT_NO_INPUT = 66
CONFIG_VARIABLE = "SCRIPTORIUM_CONFIG"

_S = TypeVar("_S", bound=BaseSettings)


def load_layers(
    kind: type[_S], argv: Sequence[str], variables: Mapping[str, str], secrets: Collection[str]
) -> _S:
    """Read all sources and check them as a whole.

    Args:
        kind: the class of the settings; its docstring is the help's.
        argv: the command line.
        variables: further environment variables, each with the setting that it stands for.
        secrets: settings that must not stand in the file.

    Raises:
        ConfigError: exit code 64 for a bad flag, 66 for a missing file, 78 for a bad value; the text
            names every problem, not only the first.
        SystemExit: after `--help`, with 0.
    """
    file_values = _read_file(_file_named(argv), secrets)
    plain = {field: os.environ[name] for name, field in variables.items() if os.environ.get(name)}

    class Loaded(kind):  # type: ignore[valid-type, misc]  # a class made for one file's values
        __doc__ = cleandoc(kind.__doc__ or "")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                env_settings,
                InitSettingsSource(settings_cls, init_kwargs=plain),
                InitSettingsSource(settings_cls, init_kwargs=file_values),
            )

    try:
        cli: CliSettingsSource[Any] = CliSettingsSource(Loaded, cli_parse_args=list(argv))
        loaded: _S = Loaded(_cli_settings_source=cli)
    except SettingsError as error:
        raise ConfigError(
            str(error), hint="see --help for all flags", exit_code=EXIT_USAGE
        ) from error
    except ValidationError as error:
        raise ConfigError(all_problems(error), hint="see --help for what is allowed") from error
    return loaded


def all_problems(error: ValidationError) -> str:
    """Every problem in one line, without the values: one of them may be a secret."""
    problems = (
        f"{'.'.join(map(str, problem['loc'])) or 'settings'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )
    return "; ".join(problems)


def _file_named(argv: Sequence[str]) -> Path | None:
    for position, word in enumerate(argv):
        if word == "--config" and position + 1 < len(argv):
            return Path(argv[position + 1])
        if word.startswith("--config="):
            return Path(word.partition("=")[2])
    named = os.environ.get(CONFIG_VARIABLE)
    return Path(named) if named else None


def _read_file(path: Path | None, secrets: Collection[str]) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error}", hint="check --config", exit_code=EXIT_NO_INPUT
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not valid TOML: {error}", hint="see --help for the names of all settings"
        ) from error
    named = {name.replace("-", "_"): value for name, value in values.items()}
    told = sorted(named.keys() & set(secrets))
    if told:
        raise ConfigError(
            f"{path} holds a {told[0]}",
            hint="set it in the environment, or move it to a file of its own if a setting names one",
        )
    return named
