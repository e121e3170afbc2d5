"""One server for all REST tests, and a project of its own for each of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.devserver import DevServer, project, user, write_world
from support.rest_api import FILES, Api, NewRepo, Repo

USERS = {
    "guest": user(),
    "stranger": user(),
    "blocked": user(blocked=True),
    "limited": user(
        {"value": "read-api", "scopes": ["read_api"]},
        {"value": "read-repository", "scopes": ["read_repository"]},
        {"value": "write-repository", "scopes": ["write_repository"]},
        {"value": "read-user", "scopes": ["read_user"]},
        {"value": "expired", "scopes": ["api"], "expires_at": "2020-01-01"},
        {"value": "revoked", "scopes": ["api"], "revoked": True},
        {"value": "dated", "scopes": ["api"], "expires_at": "2999-12-31"},
    ),
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A server that many tests share; each has projects of its own on it."""
    directory = tmp_path_factory.mktemp("devserver")
    config = write_world(directory, projects=[], users=USERS)
    with DevServer(directory / "root", config, in_process=True) as running:
        yield running


_numbers = itertools.count(1)


@pytest.fixture
def new_repo(server: DevServer, tmp_path: Path) -> NewRepo:
    """Make a private project; the worker is developer, the translator maintainer."""

    def make(files: Any = FILES, **settings: Any) -> Repo:
        members = settings.pop("members", {"translator": 40, "worker": 30, "guest": 10})
        described = project(f"bible/book-{next(_numbers)}", files, members, **settings)
        return Repo(server, server.add_project(tmp_path, described), Api(server, "worker"))

    return make


@pytest.fixture
def repo(new_repo: NewRepo) -> Repo:
    """A private project with a few files on `main`."""
    return new_repo()
