"""Random histories: the commit engine against a dictionary, the history walk against Git itself."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from devserver.commit_actions import commit_files
from devserver.commit_request import Action, ActionKind, CommitRequest
from devserver.errors import ApiError
from devserver.repository import Repository
from devserver.trees import TreeItem
from devserver.world import Project, User, World

PATHS = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/f", "d/e"])
CONTENTS = st.sampled_from([b"", b"1", b"2"])
ACTIONS = st.one_of(
    st.builds(Action, st.just(ActionKind.CREATE), PATHS, content=CONTENTS),
    st.builds(Action, st.just(ActionKind.UPDATE), PATHS, content=CONTENTS),
    st.builds(Action, st.just(ActionKind.DELETE), PATHS),
    st.builds(Action, st.just(ActionKind.CHMOD), PATHS, executable=st.booleans()),
    st.builds(Action, st.just(ActionKind.MOVE), PATHS, PATHS, content=st.none() | CONTENTS),
)
WHO = ("A", "a@example.com")

Files = dict[str, tuple[bytes, bool]]


class RefusedError(Exception):
    """The model says no."""


def apply(files: Files, action: Action) -> None:
    """Do to a dictionary what an action does to a tree."""
    source = action.source_path
    below = [path for path in files if path.startswith(f"{source}/")]
    if action.kind is ActionKind.CREATE:
        if source in files:
            raise RefusedError
        put(files, source, (action.content or b"", False))
    elif action.kind is ActionKind.DELETE:
        if source not in files and not below:
            raise RefusedError
        for path in [*below, source]:
            files.pop(path, None)
    elif source not in files:
        raise RefusedError
    elif action.kind is ActionKind.MOVE:
        content, executable = files.pop(source)
        if action.path in files:
            raise RefusedError
        content = content if action.content is None else action.content
        put(files, action.path, (content, executable))
    elif action.kind is ActionKind.CHMOD:
        files[source] = (files[source][0], bool(action.executable))
    else:
        files[source] = (action.content or b"", files[source][1])


def put(files: Files, path: str, value: tuple[bytes, bool]) -> None:
    """Place a file; a directory there goes, a file in the middle of the path is in the way."""
    parents = [path[:index] for index, letter in enumerate(path) if letter == "/"]
    if any(parent in files for parent in parents):
        raise RefusedError
    for below in [other for other in files if other.startswith(f"{path}/")]:
        del files[below]
    files[path] = value


@contextmanager
def world() -> Iterator[tuple[World, Project, User]]:
    """A world with one empty project and its owner."""
    with tempfile.TemporaryDirectory() as root:
        made = World(Path(root))
        user = made.add_user("ann")
        try:
            yield made, made.add_project("ann/p"), user
        finally:
            made.close()


def contents(repository: Repository) -> Files:
    """Read the whole branch."""
    entries = repository.entries("main", "", recursive=True) or ()
    return {
        entry.path: (repository.blob(entry.id) or b"", entry.mode == "100755")
        for entry in entries
        if entry.type == "blob"
    }


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(ACTIONS, min_size=1, max_size=4), max_size=8))
def test_commits_do_what_the_model_does_or_nothing(commits: list[list[Action]]) -> None:
    """Each list of actions happens whole, or is refused and leaves the branch where it was."""
    with world() as (made, project, user):
        repository = made.repository(project)
        files: Files = {}
        for actions in commits:
            expected = dict(files)
            try:
                for action in actions:
                    apply(expected, action)
            except RefusedError:
                expected = files
            before = repository.head("main")
            try:
                commit_files(made, project, user, CommitRequest("main", "x", tuple(actions)))
            except ApiError:
                assert repository.head("main") == before
                assert expected == files
            assert contents(repository) == expected
            files = expected


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_last_touch_is_the_one_git_finds(data: st.DataObject) -> None:
    """Over random histories with merges, for files and folders, present or gone."""
    with world() as (made, project, _):
        repository = made.repository(project)
        commits = [_commit(repository, [], data)]
        for _ in range(data.draw(st.integers(1, 7))):
            parents = data.draw(
                st.lists(st.sampled_from(commits), min_size=1, max_size=2, unique=True)
            )
            commits.append(_commit(repository, parents, data))
        repository.move_branch("main", commits[-1], None)
        for path in ("a", "d", "d/a", "d/e", "d/e/f", "never"):
            theirs = _git_log(repository, path)
            assert repository.last_commit_for("main", path) == (theirs[0] if theirs else None)
            assert {commit.id for commit in repository.log("main", path)} == set(theirs)


def _commit(repository: Repository, parents: list[str], data: st.DataObject) -> str:
    editor = repository.edit(parents[0] if parents else None)
    changes = data.draw(
        st.dictionaries(st.sampled_from(["a", "d/a", "d/e/f"]), CONTENTS, max_size=2)
    )
    for path, content in changes.items():
        if content:
            editor.put(path, TreeItem(repository.write_blob(content), 0o100644))
        elif editor.file(path):
            editor.remove(path)
    return repository.write_commit(editor.write(), parents, "x", WHO, WHO)


def _git_log(repository: Repository, path: str) -> list[str]:
    command = ["git", "-C", str(repository.path), "log", "--format=%H", "main", "--", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
