"""The JSON forms of users, tokens, projects, commits, branches and members (GitLab's API entities).

One function per entity: values in, a dictionary out. Nothing here decides who may see it.
"""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from typing import Any

from devserver.objects import Commit, DiffSize
from devserver.people import AccessLevel, Credential, User
from devserver.world import Project, World

Entity = dict[str, Any]


def utc(moment: datetime) -> str:
    """Write a moment as GitLab's database values: UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def offset(moment: datetime) -> str:
    """Write a moment as Git's: in its own offset."""
    return moment.isoformat(timespec="milliseconds")


def basic_user(world: World, user: User) -> Entity:
    """Return a user as others see it."""
    return {
        "id": user.id,
        "username": user.username,
        "public_email": "",
        "name": user.name,
        "state": "blocked" if user.blocked else "active",
        "locked": False,
        "avatar_url": None,
        "web_url": f"{world.external_url}/{user.username}",
    }


def current_user(world: World, user: User) -> Entity:
    """Return a user as they see themselves."""
    entity = basic_user(world, user) | {
        "created_at": utc(user.created_at),
        "bio": "",
        "location": "",
        "linkedin": "",
        "twitter": "",
        "discord": "",
        "website_url": "",
        "github": "",
        "job_title": "",
        "pronouns": None,
        "organization": "",
        "bot": False,
        "work_information": None,
        "local_time": None,
        "last_sign_in_at": None,
        "confirmed_at": utc(user.created_at),
        "last_activity_on": None,
        "email": user.email,
        "theme_id": 3,
        "color_scheme_id": 1,
        "projects_limit": 100_000,
        "current_sign_in_at": None,
        "identities": [],
        "can_create_group": True,
        "can_create_project": True,
        "two_factor_enabled": False,
        "external": False,
        "private_profile": False,
        "commit_email": user.email,
        "preferred_language": "en",
        "scim_identities": [],
    }
    return entity | ({"is_admin": True} if user.admin else {})


def token(credential: Credential, last_ip: str | None) -> Entity:
    """Return the token a request was signed with."""
    found = credential.token
    return {
        "id": found.id,
        "name": found.name,
        "revoked": found.revoked,
        "created_at": utc(found.created_at),
        "description": None,
        "scopes": sorted(found.scopes),
        "user_id": found.user_id,
        "last_used_at": utc(datetime.now(UTC)),
        "active": True,
        "expires_at": found.expires_at.isoformat() if found.expires_at else None,
        "last_used_ips": [last_ip] if last_ip else [],
    }


def simple_project(world: World, project: Project, user: User | None) -> Entity:
    """Return a project as `simple=true` lists it."""
    web_url = f"{world.external_url}/{project.path}"
    owner, _, path = project.path.rpartition("/")
    entity: Entity = {
        "id": project.id,
        "description": None,
        "name": project.name,
        "name_with_namespace": project.path.replace("/", " / "),
        "path": path,
        "path_with_namespace": project.path,
        "created_at": utc(project.created_at),
        "tag_list": [],
        "topics": [],
        "ssh_url_to_repo": f"git@{world.external_url.partition('//')[2]}:{project.path}.git",
        "http_url_to_repo": f"{web_url}.git",
        "web_url": web_url,
        "readme_url": None,
        "forks_count": 0,
        "avatar_url": None,
        "star_count": 0,
        "last_activity_at": utc(project.last_activity_at),
        "visibility": project.visibility,
        "namespace": _namespace(world, owner),
    }
    if world.can_read_code(user, project):
        # Also of an empty repository: the name does not prove that the branch exists.
        entity["default_branch"] = project.default_branch
        if world.repository(project).entry(project.default_branch, "README.md"):
            entity["readme_url"] = f"{web_url}/-/blob/{project.default_branch}/README.md"
    return entity


def full_project(world: World, project: Project, user: User | None) -> Entity:
    """Return a project with its settings and what this user may do."""
    self_url = f"{world.external_url}/api/v4/projects/{project.id}"
    level = world.membership(user, project)
    can_merge = world.access_level(user, project) >= AccessLevel.DEVELOPER
    return simple_project(world, project, user) | {
        "_links": {
            "self": self_url,
            "repo_branches": f"{self_url}/repository/branches",
            "events": f"{self_url}/events",
            "members": f"{self_url}/members",
        },
        "marked_for_deletion_at": None,
        "marked_for_deletion_on": None,
        "packages_enabled": True,
        "empty_repo": world.repository(project).is_empty,
        "archived": project.archived,
        "repository_object_format": "sha1",
        "issues_enabled": True,
        "merge_requests_enabled": True,
        "wiki_enabled": True,
        "jobs_enabled": True,
        "snippets_enabled": True,
        "can_create_merge_request_in": can_merge,
        "repository_access_level": "enabled",
        "shared_runners_enabled": False,
        "lfs_enabled": project.lfs_enabled,
        "creator_id": 1,
        "import_status": "none",
        "import_error": None,
        "open_issues_count": 0,
        "description_html": "",
        "updated_at": utc(project.created_at),
        "public_jobs": True,
        "shared_with_groups": [],
        "request_access_enabled": True,
        "merge_method": "merge",
        "permissions": {
            "project_access": {"access_level": level, "notification_level": 3} if level else None,
            "group_access": None,
        },
    }


def commit(world: World, project: Project, found: Commit) -> Entity:
    """Return a commit as lists show it."""
    return {
        "id": found.id,
        "short_id": found.id[:8],
        "created_at": offset(found.committer.at),
        "parent_ids": list(found.parent_ids),
        "title": found.title,
        "message": found.message,
        "author_name": found.author.name,
        "author_email": found.author.email,
        "authored_date": offset(found.author.at),
        "committer_name": found.committer.name,
        "committer_email": found.committer.email,
        "committed_date": offset(found.committer.at),
        "trailers": {},
        "extended_trailers": {},
        "web_url": f"{world.external_url}/{project.path}/-/commit/{found.id}",
    }


def commit_stats(size: DiffSize) -> Entity:
    """Return the line counts of a commit."""
    return {
        "additions": size.additions,
        "deletions": size.deletions,
        "total": size.additions + size.deletions,
    }


def commit_detail(world: World, project: Project, found: Commit, *, stats: bool) -> Entity:
    """Return a commit as it is shown alone."""
    entity = commit(world, project, found)
    if stats:
        entity["stats"] = commit_stats(world.repository(project).diff_size(found.id))
    return entity | {"status": None, "project_id": project.id, "last_pipeline": None}


def branch(world: World, project: Project, name: str, user: User | None) -> Entity | None:
    """Return a branch, or None if it does not exist."""
    repository = world.repository(project)
    head = repository.head(name)
    if head is None:
        return None
    is_default = name == project.default_branch
    trunk = repository.head(project.default_branch)
    push_level = world.protected_branches(project).get(name)
    developers_can = push_level is not None and 0 < push_level <= AccessLevel.DEVELOPER
    return {
        "name": name,
        "commit": commit(world, project, repository.commit(head)),
        "merged": bool(trunk and not is_default and repository.is_ancestor(head, trunk)),
        "protected": push_level is not None,
        "developers_can_push": developers_can,
        "developers_can_merge": developers_can,
        "can_push": world.can_push(user, project, name),
        "default": is_default,
        "web_url": f"{world.external_url}/{project.path}/-/tree/{name}",
    }


def member(world: World, user: User, level: int) -> Entity:
    """Return a member of a project."""
    return basic_user(world, user) | {
        "access_level": level,
        "created_at": utc(user.created_at),
        "expires_at": None,
        "membership_state": "active",
    }


def _namespace(world: World, path: str) -> Entity:
    owner = world.find_user(path)
    parent, _, name = path.rpartition("/")
    return {
        "id": zlib.crc32(path.encode()),
        "name": name if owner is None else owner.name,
        "path": name,
        "kind": "group" if owner is None else "user",
        "full_path": path,
        "parent_id": zlib.crc32(parent.encode()) if parent else None,
        "avatar_url": None,
        "web_url": f"{world.external_url}/{path if owner else 'groups/' + path}",
    }
