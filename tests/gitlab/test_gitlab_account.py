"""Every way of being started wrongly: a clear message, a remedy, the right exit code."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.certificates import self_signed
from support.devserver import DevServer, user, write_world
from support.gitlab_clients import clear, quick_session
from support.http_stub import HttpStub, Reply

from gitlab_jobs.errors import ConfigError
from gitlab_jobs.gitlab_account import check_account

TOKENS = {
    "reader": {"value": "token-reader", "scopes": ["read_api"]},
    "pusher": {"value": "token-pusher", "scopes": ["write_repository"]},
    "late": {"value": "token-late", "scopes": ["api"], "expires_at": "2020-01-01"},
    "gone": {"value": "token-gone", "scopes": ["api"], "revoked": True},
    "lasting": {"value": "token-lasting", "scopes": ["api"], "expires_at": "2099-12-31"},
}
USERS = {name: user(token) for name, token in TOKENS.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A world of people with all kinds of tokens."""
    folder = tmp_path_factory.mktemp("gitlab")
    people = {**USERS, "blocked": user(blocked=True)}
    config = write_world(folder, users=people)
    with DevServer(folder / "root", config, in_process=True) as running:
        yield running


def refused(url: str, token: str) -> ConfigError:
    """The error that starting with these ends in."""
    with pytest.raises(ConfigError) as caught:
        check_account(quick_session(url, token))
    assert token not in str(caught.value) + caught.value.hint
    return caught.value


def test_a_good_token_names_its_owner(server: DevServer) -> None:
    """With its scopes and the day it ends."""
    account = check_account(quick_session(server.url + "/", "token-lasting"))
    assert account.username == "lasting"
    assert account.scopes == {"api"}
    assert account.expires_at == datetime(2099, 12, 31, tzinfo=UTC)
    assert check_account(quick_session(server.url, "token-worker")).expires_at is None


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("token-nobody", "401 Unauthorized"),
        ("token-late", "expired"),
        ("token-gone", "revoked"),
        ("token-reader", "scope read_api"),
        ("token-pusher", "needs scope"),
        ("token-blocked", "blocked"),
    ],
)
def test_a_token_that_will_not_do_says_why(server: DevServer, token: str, words: str) -> None:
    """Code 77: restarting will not help."""
    error = refused(server.url, token)
    assert words in str(error)
    assert "scope `api`" in error.hint
    assert error.exit_code == 77


def test_a_server_that_is_not_there_may_be_there_later() -> None:
    """Code 69: systemd tries again."""
    error = refused("http://127.0.0.1:9", "some-token")
    assert "cannot be reached" in str(error)
    assert error.exit_code == 69


def test_a_name_that_does_not_resolve_is_unreachable_too() -> None:
    """A typing mistake looks the same as a network that is down."""
    assert refused("http://gitlab.invalid", "some-token").exit_code == 69


def test_a_server_that_fails_is_unavailable(server: DevServer) -> None:
    """Not a configuration mistake."""
    server.set_faults(rules=[{"action": "status", "status": 503}])
    assert refused(server.url, "some-token").exit_code == 69
    clear(server)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>Welcome</html>", {"Content-Type": "text/html; charset=utf-8"}),
        Reply(404, b"<html>no such page</html>", {"Content-Type": "text/html"}),
        Reply(200, b'{"name": "another program"}', {"Content-Type": "application/json"}),
        Reply(200, b"[]", {"Content-Type": "application/json"}),
        Reply(200, b"hello", {"Content-Type": "text/plain"}),
    ],
    ids=["page", "no-page", "other-json", "list", "text"],
)
def test_a_url_that_is_no_gitlab_is_a_mistake_in_the_settings(reply: Reply) -> None:
    """Code 78, and the hint shows what a right one looks like."""
    with HttpStub(lambda _request: reply) as stub:
        error = refused(stub.url, "some-token")
    assert "does not answer like a GitLab" in str(error)
    assert "https://" in error.hint
    assert error.exit_code == 78


def test_a_path_below_the_server_is_not_gitlab(server: DevServer) -> None:
    """A project's address instead of the server's."""
    assert refused(f"{server.url}/bible/demo", "token-worker").exit_code == 78


@pytest.mark.parametrize("url", ["gitlab.example.org", "ftp://gitlab.example.org", "http://"])
def test_a_text_that_is_no_url_is_a_mistake_in_the_settings(url: str) -> None:
    """Before anything is sent."""
    assert refused(url, "some-token").exit_code == 78


def test_a_server_that_sends_everybody_elsewhere_is_a_mistake_in_the_settings() -> None:
    """Typically http where the server insists on https."""
    elsewhere = {"Location": "https://gitlab.example.org/api/v4/user"}
    with HttpStub(lambda _request: Reply(301, headers=elsewhere)) as stub:
        error = refused(stub.url, "some-token")
    assert "https://gitlab.example.org" in str(error)
    assert error.exit_code == 78


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(tmp_path: Path) -> None:
    """Code 77, and nothing is sent to a server that may be anybody."""
    with HttpStub(lambda _request: Reply(), self_signed(tmp_path)) as stub:
        error = refused(stub.url, "some-token")
    assert "certificate" in str(error)
    assert "REQUESTS_CA_BUNDLE" in error.hint
    assert error.exit_code == 77
    assert stub.seen == []


def test_a_token_of_another_kind_is_accepted_without_a_look_at_its_scopes() -> None:
    """OAuth tokens, and servers before 15.5, do not tell."""

    def answer(request: object) -> Reply:
        path = getattr(request, "path", "")
        json = {"Content-Type": "application/json"}
        if path.endswith("/user"):
            return Reply(200, b'{"id": 7, "username": "robot"}', json)
        return Reply(400, b'{"message": "400 Bad request - not a personal access token"}', json)

    with HttpStub(answer) as stub:
        account = check_account(quick_session(stub.url, "some-token"))
    assert account.username == "robot"
    assert account.scopes == frozenset()
