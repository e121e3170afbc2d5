"""The world file: one TOML document that says who and what exists on a fresh root.

    [[users]]                 username, name?, admin?, blocked?
    [[users.tokens]]          value, scopes, revoked?, expires_at?
    [[projects]]              path, visibility?, default_branch?, files?, members?, protected?, lfs?,
                              empty?, archived?
    [limits]                  see `limits.py`
    [faults]                  see `faults.py`

`files` is a directory (relative to the TOML file) imported as the first commit; without it the first
commit holds a README, with `empty = true` there is none. A branch is protected only if it is named
in `protected`. Levels are numbers (30) or role names ("developer"). What is on the root already is
never changed: users, tokens and projects are added by name, value and path.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from devserver.importer import import_directory, import_readme
from devserver.limits import Limits
from devserver.people import AccessLevel
from devserver.world import World


class ConfigError(Exception):
    """The world file cannot be used; the text says where and why."""


def _level(value: object) -> object:
    if isinstance(value, str) and value.upper() in AccessLevel.__members__:
        return AccessLevel[value.upper()].value
    return value


def _day(value: object) -> object:
    return value.date() if isinstance(value, datetime) else value


Level = Annotated[int, BeforeValidator(_level), Field(ge=0, le=AccessLevel.OWNER)]
Day = Annotated[date, BeforeValidator(_day)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenConfig(_Table):
    """One `[[users.tokens]]`."""

    value: str = Field(min_length=1)
    scopes: list[str] = ["api"]
    revoked: bool = False
    expires_at: Day | None = None


class UserConfig(_Table):
    """One `[[users]]`."""

    username: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    name: str | None = None
    admin: bool = False
    blocked: bool = False
    tokens: list[TokenConfig] = []


class ProjectConfig(_Table):
    """One `[[projects]]`."""

    path: str = Field(pattern=r"^[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)+$")
    visibility: Literal["private", "internal", "public"] = "private"
    default_branch: str = "main"
    files: Path | None = None
    members: dict[str, Level] = {}
    protected: dict[str, Level] = {}
    lfs: bool = True
    empty: bool = False
    archived: bool = False


class WorldConfig(_Table):
    """The whole file."""

    users: list[UserConfig] = []
    projects: list[ProjectConfig] = []
    limits: Limits = Limits()
    faults: dict[str, object] = {}


def load_config(path: Path) -> WorldConfig:
    """Read and check a world file; `files` directories come back absolute.

    Raises:
        ConfigError: It is unreadable, or a value is wrong.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        config = WorldConfig.model_validate(document)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigError(f"{path}: {where}: {first['msg']}") from error
    projects = [_resolved(project, path.parent) for project in config.projects]
    _check_names(path, config)
    return config.model_copy(update={"projects": projects})


def populate(world: World, config: WorldConfig) -> None:
    """Add to the world what it lacks; what it has stays as it is."""
    for user_config in config.users:
        user = world.find_user(user_config.username) or world.add_user(
            user_config.username,
            name=user_config.name,
            admin=user_config.admin,
            blocked=user_config.blocked,
        )
        for token in user_config.tokens:
            if not world.has_token(token.value):
                world.add_token(
                    user,
                    token.value,
                    token.scopes,
                    revoked=token.revoked,
                    expires_at=token.expires_at,
                )
    for project_config in config.projects:
        if world.find_project(project_config.path) is None:
            _add_project(world, project_config)


def _add_project(world: World, config: ProjectConfig) -> None:
    project = world.add_project(
        config.path,
        visibility=config.visibility,
        default_branch=config.default_branch,
        lfs_enabled=config.lfs,
        archived=config.archived,
    )
    if config.files is not None:
        import_directory(world, project, config.files)
    elif not config.empty:
        import_readme(world, project)
    for username, level in config.members.items():
        member = world.find_user(username)
        assert member is not None
        world.set_member(project, member, level)
    for branch, level in config.protected.items():
        world.protect_branch(project, branch, level)


def _resolved(project: ProjectConfig, directory: Path) -> ProjectConfig:
    if project.files is None:
        return project
    files = (directory / project.files).resolve()
    if not files.is_dir():
        raise ConfigError(f"project {project.path}: no directory {files}")
    return project.model_copy(update={"files": files})


def _check_names(path: Path, config: WorldConfig) -> None:
    usernames: Mapping[str, UserConfig] = {user.username: user for user in config.users}
    for project in config.projects:
        for username in project.members:
            if username not in usernames:
                raise ConfigError(f"{path}: project {project.path}: no user named {username}")
