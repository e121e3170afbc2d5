"""The state of the embedded GitLab: users, tokens, projects, memberships, protected branches.

Knows no HTTP and no Git content: repositories are `repository.py`, requests are `app.py`. Reads come
from memory, writes go through to `state.py` first, so a restart on the same root changes nothing.
Safe under threads: one lock guards the maps, values are replaced and never edited in place.

    root/
      state.sqlite3            this module
      repositories/ID.git      one bare repository per project
      lfs/                     large objects of all projects (`lfs_store.py`)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from devserver.limits import Limits
from devserver.people import AccessLevel, Credential, Token, TokenProblem, User
from devserver.projects import CommitStage, Project, Push
from devserver.records import project_of, push_of, token_of, user_of
from devserver.repository import Repository
from devserver.state import State

__all__ = [
    "AccessLevel",
    "CommitStage",
    "Credential",
    "Project",
    "Push",
    "Token",
    "TokenProblem",
    "User",
    "World",
]


class World:
    """Everything one server holds, loaded from and kept under `root`."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root
        self.limits = limits or Limits()
        self.external_url = "http://127.0.0.1"
        """How clients reach this server, without a final slash; set once the port is known."""
        self.on_commit: Callable[[Project, CommitStage], None] = lambda *_: None
        """Called inside each API commit at its stages; a test may do there what others do meanwhile."""
        (root / "repositories").mkdir(parents=True, exist_ok=True)
        self._state = State(root / "state.sqlite3")
        self._lock = threading.RLock()
        self._project_locks: dict[int, threading.RLock] = {}
        self._repositories: dict[int, Repository] = {}
        self._load()

    # People

    @property
    def users(self) -> tuple[User, ...]:
        """All users, oldest first."""
        with self._lock:
            return tuple(self._users.values())

    def user(self, user_id: int) -> User | None:
        """Return a user by id."""
        return self._users.get(user_id)

    def find_user(self, username: str) -> User | None:
        """Return a user by name."""
        return next((user for user in self.users if user.username == username), None)

    def add_user(
        self, username: str, *, name: str | None = None, admin: bool = False, blocked: bool = False
    ) -> User:
        """Create a user."""
        created_at = _now()
        with self._lock:
            user_id = self._state.insert(
                "users",
                username=username,
                name=name or username,
                admin=admin,
                blocked=blocked,
                created_at=created_at.isoformat(),
            )
            user = User(user_id, username, name or username, admin, blocked, created_at)
            self._users[user_id] = user
        return user

    def add_token(
        self,
        user: User,
        value: str,
        scopes: Collection[str],
        *,
        revoked: bool = False,
        expires_at: date | None = None,
    ) -> Token:
        """Give a user a personal access token."""
        created_at = _now()
        name = f"token {value[:4]}"
        with self._lock:
            token_id = self._state.insert(
                "tokens",
                value=value,
                user_id=user.id,
                name=name,
                scopes=" ".join(sorted(scopes)),
                revoked=revoked,
                expires_at=expires_at.isoformat() if expires_at else None,
                created_at=created_at.isoformat(),
            )
            token = Token(
                token_id, value, user.id, name, frozenset(scopes), revoked, expires_at, created_at
            )
            self._tokens[value] = token
        return token

    def revoke_token(self, value: str) -> None:
        """Make a token useless from now on."""
        with self._lock:
            token = self._tokens[value]
            self._state.update("tokens", token.id, revoked=True)
            self._tokens[value] = replace(token, revoked=True)

    def has_token(self, value: str) -> bool:
        """Say whether a token of this value exists, valid or not."""
        return value in self._tokens

    def authenticate(self, token: str) -> Credential | TokenProblem:
        """Say whose token this is, or why it opens nothing."""
        known = self._tokens.get(token)
        if known is None:
            return TokenProblem.UNKNOWN
        if known.revoked:
            return TokenProblem.REVOKED
        if known.expires_at and _now().date() >= known.expires_at:
            return TokenProblem.EXPIRED
        user = self._users[known.user_id]
        return TokenProblem.BLOCKED if user.blocked else Credential(user, known)

    # Projects

    @property
    def projects(self) -> tuple[Project, ...]:
        """All projects, oldest first."""
        with self._lock:
            return tuple(self._projects.values())

    def find_project(self, id_or_path: int | str) -> Project | None:
        """Return a project by numeric id or by full path (case-insensitive, as in GitLab)."""
        text = str(id_or_path)
        with self._lock:
            if text.isascii() and text.isdigit():
                return self._projects.get(int(text))
            project_id = self._paths.get(text.lower())
            return None if project_id is None else self._projects[project_id]

    def add_project(
        self,
        path: str,
        *,
        visibility: str = "private",
        default_branch: str = "main",
        lfs_enabled: bool = True,
        archived: bool = False,
        created_at: datetime | None = None,
    ) -> Project:
        """Create a project with an empty repository."""
        created_at = created_at or _now()
        name = path.rpartition("/")[2]
        with self._lock:
            project_id = self._state.insert(
                "projects",
                path=path,
                name=name,
                visibility=visibility,
                default_branch=default_branch,
                lfs_enabled=lfs_enabled,
                created_at=created_at.isoformat(),
                last_activity_at=created_at.isoformat(),
                archived=archived,
            )
            project = Project(
                project_id,
                path,
                name,
                visibility,
                default_branch,
                lfs_enabled,
                created_at,
                created_at,
                archived,
            )
            self._repositories[project_id] = Repository.create(
                self._repository_path(project_id), default_branch
            )
            self._remember(project)
        return project

    def repository(self, project: Project) -> Repository:
        """Return the project's repository; the same object every time."""
        with self._lock:
            if project.id not in self._repositories:
                self._repositories[project.id] = Repository(self._repository_path(project.id))
            return self._repositories[project.id]

    def lock_for(self, project: Project) -> threading.RLock:
        """Return the project's own lock, for read-modify-write of things that are not Git refs."""
        with self._lock:
            return self._project_locks.setdefault(project.id, threading.RLock())

    # Who may do what

    def members(self, project: Project) -> dict[int, int]:
        """Return the direct members: user id to access level."""
        with self._lock:
            return dict(self._members.get(project.id, {}))

    def set_member(self, project: Project, user: User, level: int) -> None:
        """Add a member or change their level."""
        with self._lock:
            self._state.put("members", project_id=project.id, user_id=user.id, level=level)
            self._members.setdefault(project.id, {})[user.id] = level

    def remove_member(self, project: Project, user_id: int) -> None:
        """End a membership."""
        with self._lock:
            self._state.delete("members", project_id=project.id, user_id=user_id)
            self._members.get(project.id, {}).pop(user_id, None)

    def protected_branches(self, project: Project) -> dict[str, int]:
        """Return the protected branches: name to the level that may push (0: nobody)."""
        with self._lock:
            return dict(self._protected.get(project.id, {}))

    def protect_branch(self, project: Project, branch: str, push_level: int) -> None:
        """Let only `push_level` and above push to a branch."""
        with self._lock:
            self._state.put(
                "protected_branches", project_id=project.id, branch=branch, push_level=push_level
            )
            self._protected.setdefault(project.id, {})[branch] = push_level

    def unprotect_branch(self, project: Project, branch: str) -> None:
        """Let everyone who may push push to a branch."""
        with self._lock:
            self._state.delete("protected_branches", project_id=project.id, branch=branch)
            self._protected.get(project.id, {}).pop(branch, None)

    def membership(self, user: User | None, project: Project) -> int:
        """Return the level a user was given on a project, administrators included only if given."""
        if user is None:
            return AccessLevel.NONE
        if project.namespace == user.username:
            return AccessLevel.OWNER
        return self._members.get(project.id, {}).get(user.id, AccessLevel.NONE)

    def access_level(self, user: User | None, project: Project) -> int:
        """Return what a user may do: 0 (nothing) to 50 (owner; also every administrator)."""
        if user is not None and user.admin:
            return AccessLevel.OWNER
        return self.membership(user, project)

    def can_see(self, user: User | None, project: Project) -> bool:
        """Say whether the project exists for this user (None: nobody is signed in)."""
        if project.visibility == "public" or (project.visibility == "internal" and user):
            return True
        return self.access_level(user, project) >= AccessLevel.GUEST

    def can_read_code(self, user: User | None, project: Project) -> bool:
        """Say whether the repository is readable; a guest of a private project sees no code."""
        if project.visibility != "private":
            return self.can_see(user, project)
        return self.access_level(user, project) >= AccessLevel.REPORTER

    def can_push(self, user: User | None, project: Project, branch: str) -> bool:
        """Say whether a user may move a branch."""
        level = self.access_level(user, project)
        if project.archived or level < AccessLevel.DEVELOPER:
            return False
        needed = self._protected.get(project.id, {}).get(branch)
        return needed is None or 0 < needed <= level

    # What happened

    def record_push(
        self, project: Project, user: User, branch: str, before: str | None, after: str | None
    ) -> None:
        """Note that a branch moved: an event, and now and then the project's activity time."""
        now = _now()
        count = self.repository(project).count_new(before, after)
        self._state.insert(
            "pushes",
            project_id=project.id,
            user_id=user.id,
            created_at=now.isoformat(),
            branch=branch,
            commit_from=before,
            commit_to=after,
            commit_count=count,
        )
        with self._lock:
            current = self._projects[project.id]
            if now - current.last_activity_at >= timedelta(seconds=self.limits.activity_interval_s):
                self.touch(current, now)

    def touch(self, project: Project, moment: datetime) -> None:
        """Set the project's last activity."""
        with self._lock:
            self._state.update("projects", project.id, last_activity_at=moment.isoformat())
            self._projects[project.id] = replace(
                self._projects[project.id], last_activity_at=moment
            )

    def pushes(self, project_ids: Collection[int], *, limit: int = 1000) -> list[Push]:
        """Return the newest pushes to these projects, newest first."""
        marks = ", ".join("?" * len(project_ids))
        rows = self._state.rows(
            f"SELECT * FROM pushes WHERE project_id IN ({marks}) ORDER BY id DESC LIMIT ?",
            (*project_ids, limit),
        )
        return [push_of(row) for row in rows]

    # Large objects (the bytes are `lfs_store.py`'s; here is only what belongs to whom)

    def link_lfs(self, project: Project, oid: str, size: int) -> None:
        """Note that the project owns a large object; only then may it be fetched or committed."""
        with self._lock:
            self._state.put("lfs_links", project_id=project.id, oid=oid, size=size)
            self._lfs_links.setdefault(project.id, {})[oid] = size

    def lfs_size(self, project: Project, oid: str) -> int | None:
        """Return the size of a large object linked to the project, or None if it is not linked."""
        return self._lfs_links.get(project.id, {}).get(oid)

    def close(self) -> None:
        """Close the state file; the world cannot be used afterwards."""
        self._state.close()

    def _load(self) -> None:
        rows = self._state.rows
        self._users = {row["id"]: user_of(row) for row in rows("SELECT * FROM users ORDER BY id")}
        self._tokens = {row["value"]: token_of(row) for row in rows("SELECT * FROM tokens")}
        self._projects: dict[int, Project] = {}
        self._paths: dict[str, int] = {}
        for row in rows("SELECT * FROM projects ORDER BY id"):
            self._remember(project_of(row))
        self._members: dict[int, dict[int, int]] = {}
        for row in rows("SELECT * FROM members"):
            self._members.setdefault(row["project_id"], {})[row["user_id"]] = row["level"]
        self._protected: dict[int, dict[str, int]] = {}
        for row in rows("SELECT * FROM protected_branches"):
            self._protected.setdefault(row["project_id"], {})[row["branch"]] = row["push_level"]
        self._lfs_links: dict[int, dict[str, int]] = {}
        for row in rows("SELECT * FROM lfs_links"):
            self._lfs_links.setdefault(row["project_id"], {})[row["oid"]] = row["size"]

    def _remember(self, project: Project) -> None:
        self._projects[project.id] = project
        self._paths[project.path.lower()] = project.id

    def _repository_path(self, project_id: int) -> Path:
        return self.root / "repositories" / f"{project_id}.git"


def _now() -> datetime:
    return datetime.now(UTC)
