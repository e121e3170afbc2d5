"""What GraphQL says about the server and its projects, to one person.

`Root` answers the query type and `resolve_field` every field: an attribute or method of the object,
named in snake case. An invisible project is null without an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError

from devserver.graphql_limits import QueryLimits
from devserver.graphql_pages import Connection, Keyset, PageArguments, page_of
from devserver.graphql_repository import Info, RepositoryNode, time_text
from devserver.people import AccessLevel, User
from devserver.world import Project, World

VERSION = "18.9.0"
MAX_FULL_PATHS = 50

_GLOBAL_ID = re.compile(r"gid://gitlab/Project/(\d+)\Z")
_LEVEL_NAMES = {level.value: level.name for level in AccessLevel} | {0: "NO_ACCESS"}

SortKey = Callable[[Project], Any]
_SORT_KEYS: dict[str, SortKey] = {
    "id": lambda project: project.id,
    "latest_activity": lambda project: project.last_activity_at.timestamp(),
    "created": lambda project: project.created_at.timestamp(),
    "created_at": lambda project: project.created_at.timestamp(),
    "name": lambda project: project.name.lower(),
    "path": lambda project: project.path.rpartition("/")[2].lower(),
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and within which limits."""

    world: World
    user: User | None
    limits: QueryLimits


@dataclass(frozen=True, slots=True)
class QueryComplexity:
    """The score of the running query."""

    score: int
    limit: int


class Root:
    """The query type."""

    def __init__(self, asker: Asker, score: int) -> None:
        self._asker = asker
        self.query_complexity = QueryComplexity(score, asker.limits.complexity)
        self.metadata = {"version": VERSION, "revision": "devserver", "enterprise": False}

    @property
    def current_user(self) -> dict[str, Any] | None:
        """Who asks."""
        user = self._asker.user
        if user is None:
            return None
        return {
            "id": f"gid://gitlab/User/{user.id}",
            "username": user.username,
            "name": user.name,
            "bot": False,
            "webUrl": f"{self._asker.world.external_url}/{user.username}",
        }

    def project(self, _info: Info, full_path: str) -> ProjectNode | None:
        """Return a project by its path."""
        world = self._asker.world
        found = None if full_path.isdigit() else world.find_project(full_path)
        if found is None or not world.can_see(self._asker.user, found):
            return None
        return ProjectNode(self._asker, found)

    def projects(self, _info: Info, **arguments: Any) -> Connection[ProjectNode]:
        """Return a page of the projects the asker may see."""
        page = PageArguments.take(arguments)
        if len(arguments.get("full_paths") or ()) > MAX_FULL_PATHS:
            raise GraphQLError(f"You cannot provide more than {MAX_FULL_PATHS} full_paths")
        found = [
            project
            for project in self._asker.world.projects
            if _is_wanted(self._asker, project, arguments)
        ]
        ordered, keyset = _sorted(found, arguments.get("sort") or "id_desc")
        rows = page_of(ordered, keyset, page, self._asker.limits.page_size)
        return rows.map(lambda project: ProjectNode(self._asker, project))


class ProjectNode:
    """One project."""

    def __init__(self, asker: Asker, project: Project) -> None:
        self._asker = asker
        self._project = project
        self.id = f"gid://gitlab/Project/{project.id}"
        self.full_path = project.path
        self.path = project.path.rpartition("/")[2]
        self.name, self.visibility, self.archived = (
            project.name,
            project.visibility,
            project.archived,
        )
        self.created_at = time_text(project.created_at)
        self.last_activity_at = time_text(project.last_activity_at)
        self.lfs_enabled = project.lfs_enabled
        self.web_url = f"{asker.world.external_url}/{project.path}"
        self.http_url_to_repo = f"{self.web_url}.git"

    @property
    def max_access_level(self) -> dict[str, Any]:
        """What the asker may do here."""
        level = self._asker.world.access_level(self._asker.user, self._project)
        return {"integerValue": level, "stringValue": _LEVEL_NAMES[level]}

    @property
    def repository(self) -> RepositoryNode | None:
        """The repository, if the asker may read code."""
        world = self._asker.world
        if not world.can_read_code(self._asker.user, self._project):
            return None
        return RepositoryNode(world, self._project, self._asker.limits.page_size)


def resolve_field(source: Any, info: Info, **arguments: Any) -> Any:
    """Answer any field: a key of a mapping, or the attribute or method named in snake case."""
    if isinstance(source, dict):
        return source.get(info.field_name)
    value = getattr(source, _snake(info.field_name))
    if callable(value):
        return value(info, **{_snake(name): given for name, given in arguments.items()})
    return value


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _is_wanted(asker: Asker, project: Project, arguments: dict[str, Any]) -> bool:
    world, user = asker.world, asker.user
    minimum = AccessLevel.GUEST if arguments.get("membership") else AccessLevel.NONE
    if name := arguments.get("min_access_level"):
        minimum = max(minimum, AccessLevel[name])
    if minimum and world.membership(user, project) < minimum:
        return False
    if not _is_selected(project, arguments) or not world.can_see(user, project):
        return False
    archived = "EXCLUDE" if arguments.get("active") else arguments.get("archived")
    return (
        project.archived if archived == "ONLY" else not (archived == "EXCLUDE" and project.archived)
    )


def _is_selected(project: Project, arguments: dict[str, Any]) -> bool:
    ids, paths, search = (arguments.get(name) for name in ("ids", "full_paths", "search"))
    if ids is not None and project.id not in map(_project_id, ids):
        return False
    if paths is not None and project.path.lower() not in {path.lower() for path in paths}:
        return False
    return not search or search.lower() in project.path.lower()


def _project_id(global_id: str) -> int:
    match = _GLOBAL_ID.match(global_id)
    if match is None:
        raise GraphQLError(f'"{global_id}" does not represent an instance of Project')
    return int(match[1])


def _sorted(projects: list[Project], sort: str) -> tuple[list[Project], Keyset[Project]]:
    """Order projects and name each by its sort key, so that cursors survive changes."""
    name, _, direction = sort.rpartition("_")
    value_of = _SORT_KEYS.get(name, _SORT_KEYS["id"])
    descending = direction != "asc" or name not in _SORT_KEYS

    def key_of(project: Project) -> tuple[Any, int]:
        return value_of(project), project.id

    ordered = sorted(projects, key=key_of, reverse=descending)

    def skipped(key: list[Any]) -> int:
        last = (key[0], int(key[1]))
        if descending:
            return sum(key_of(project) >= last for project in ordered)
        return sum(key_of(project) <= last for project in ordered)

    return ordered, Keyset(lambda _index, project: key_of(project), skipped)
