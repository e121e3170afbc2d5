"""REST: the commit list, single commits, comparisons, and commits made through the API."""

from __future__ import annotations

import itertools

from starlette.responses import Response
from starlette.routing import BaseRoute

from devserver import entities, errors
from devserver.call import Call, Json, api
from devserver.commit_actions import commit_files
from devserver.commit_request import commit_request
from devserver.diffs import diff_entities
from devserver.limits import MIB
from devserver.objects import Commit
from devserver.pagination import asked_page, uncounted_headers

LARGE_WRITE_BYTES = 20 * MIB


def list_commits(call: Call) -> Response:
    """Answer the commits of a ref, newest first; never with totals."""
    project, repository = call.code()
    ref = call.text("ref_name") or project.default_branch
    if ref.startswith("-") or " " in ref:
        raise errors.ApiError(400, "ref_name is invalid")
    since, until = call.moment("since"), call.moment("until")
    page = asked_page(call)
    found = (
        commit
        for commit in repository.log(
            ref, call.text("path") or "", first_parent=call.flag("first_parent")
        )
        if (since is None or commit.committer.at >= since)
        and (until is None or commit.committer.at <= until)
    )
    commits = list(itertools.islice(found, page.start, page.start + page.size))
    shown = [_shown(call, commit) for commit in commits]
    return Json(shown, headers=uncounted_headers(call, page, len(commits)))


def show_commit(call: Call) -> Response:
    """Answer one commit, by id, branch or tag."""
    commit = _commit(call)
    stats = call.flag("stats", default=True)
    return Json(entities.commit_detail(call.world, call.project(), commit, stats=stats))


def show_diff(call: Call) -> Response:
    """Answer what one commit changed."""
    _, repository = call.code()
    commit = _commit(call)
    parent = commit.parent_ids[0] if commit.parent_ids else None
    return Json(diff_entities(repository.diff(parent, commit.id)))


def compare(call: Call) -> Response:
    """Answer what one ref has that another has not."""
    project, repository = call.code()
    call.require("from", "to")
    start, end = (repository.resolve(call.text(name) or "") for name in ("from", "to"))
    if start is None or end is None:
        raise errors.not_found("Ref")
    base = start if call.flag("straight") else repository.merge_base(start, end)
    commits = [
        entities.commit(call.world, project, repository.commit(commit_id))
        for commit_id in repository.ids_between(start, end)
    ]
    return Json(
        {
            "commit": commits[-1] if commits else None,
            "commits": commits,
            "diffs": diff_entities(repository.diff(base, end)),
            "compare_timeout": False,
            "compare_same_ref": start == end,
            "web_url": f"{call.world.external_url}/{project.path}/-/compare/{start}...{end}",
        }
    )


def create_commit(call: Call) -> Response:
    """Commit actions, all or none."""
    project, repository = call.code()
    user = call.signed_in()
    if call.body_size > LARGE_WRITE_BYTES:
        call.limit("large_write", user.id)
    commit_id = commit_files(call.world, project, user, commit_request(call))
    stats = call.flag("stats", default=True)
    commit = repository.commit(commit_id)
    return Json(entities.commit_detail(call.world, project, commit, stats=stats), 201)


def _commit(call: Call) -> Commit:
    _, repository = call.code()
    commit_id = repository.resolve(call.path["sha"])
    if commit_id is None:
        raise errors.not_found("Commit")
    return repository.commit(commit_id)


def _shown(call: Call, commit: Commit) -> entities.Entity:
    project = call.project()
    entity = entities.commit(call.world, project, commit)
    if call.flag("with_stats"):
        size = call.world.repository(project).diff_size(commit.id)
        entity["stats"] = entities.commit_stats(size)
    return entity


routes: list[BaseRoute] = [
    api("GET", "/projects/{id}/repository/commits", list_commits),
    api("POST", "/projects/{id}/repository/commits", create_commit),
    api("GET", "/projects/{id}/repository/commits/{sha}", show_commit),
    api("GET", "/projects/{id}/repository/commits/{sha}/diff", show_diff),
    api("GET", "/projects/{id}/repository/compare", compare),
]
