"""One connection to GitLab under bad conditions: what is tried again, what is not, what leaks."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.devserver import DevServer, write_world
from support.gitlab_clients import QUICK, asked, clear, quick_session
from support.http_stub import HttpStub, Reply, Request

from gitlab_jobs.backoff import RetryOptions
from gitlab_jobs.errors import Denied, Forbidden, Missing, StoreError, Unavailable
from gitlab_jobs.gitlab_errors import RequestFailed
from gitlab_jobs.gitlab_session import GitLabSession, GraphQLUnsupported
from gitlab_jobs.gitlab_transport import TransportOptions

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A world with one user and one project."""
    folder = tmp_path_factory.mktemp("gitlab")
    with DevServer(folder / "root", write_world(folder), in_process=True) as running:
        yield running


@pytest.fixture
def session(server: DevServer) -> Iterator[GitLabSession]:
    """The worker's session, with no faults left over from another test."""
    clear(server)
    opened = quick_session(server.url, server.token("worker"))
    yield opened
    opened.close()
    clear(server)


def username(session: GitLabSession) -> str:
    """Something small to ask for."""
    return str(session.call(lambda: session.client.http_get("/user"))["username"])


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "status", "status": 500},
        {
            "action": "status",
            "status": 502,
            "body": "<html>",
            "headers": {"Content-Type": "text/html"},
        },
        {
            "action": "status",
            "status": 429,
            "body": "Retry later\n",
            "headers": {"Retry-After": "0"},
        },
        {"action": "status", "status": 409, "body": {"message": "409 Conflict: Resource lock"}},
        {
            "action": "status",
            "status": 200,
            "body": "<html>",
            "headers": {"Content-Type": "text/html"},
        },
        {"action": "status", "status": 200, "body": "{", "headers": JSON},
        {"action": "drop"},
        {"action": "truncate"},
        {"action": "lose_reply"},
    ],
    ids=lambda fault: "-".join(str(value) for value in list(fault.values())[:3]),
)
def test_a_read_survives_passing_faults(
    server: DevServer, session: GitLabSession, fault: dict[str, Any]
) -> None:
    """Whatever breaks twice on the way, the third answer counts."""
    server.set_faults(rules=[{"endpoint": "/user", "count": 2, **fault}])
    assert username(session) == "worker"
    assert asked(server, "GET /user") == 3


def test_a_fault_that_lasts_is_told_with_the_servers_words(
    server: DevServer, session: GitLabSession
) -> None:
    """After the last attempt the last error is raised, as a passing fault."""
    server.set_faults(
        rules=[{"action": "status", "status": 503, "body": {"message": "Gitaly is tired"}}]
    )
    with pytest.raises(Unavailable, match="Gitaly is tired"):
        username(session)
    assert asked(server, "GET /user") == QUICK.attempts


@pytest.mark.parametrize(("status", "error"), [(403, Forbidden), (404, Missing), (422, StoreError)])
def test_a_refusal_is_not_repeated(
    server: DevServer, session: GitLabSession, status: int, error: type[StoreError]
) -> None:
    """Asking again would get the same answer."""
    server.set_faults(rules=[{"action": "status", "status": status, "body": {"message": "no"}}])
    with pytest.raises(error, match="no"):
        username(session)
    assert asked(server, "GET /user") == 1


def test_nothing_more_is_sent_after_the_token_was_refused(server: DevServer) -> None:
    """Servers ban addresses that go on with a bad token."""
    clear(server)
    session = quick_session(server.url, "token-nobody-has")
    for _ in range(3):
        with pytest.raises(Denied):
            username(session)
    assert asked(server, "GET /user") == 1


def test_a_token_that_was_replaced_on_disk_is_picked_up(server: DevServer) -> None:
    """Rotation needs no restart."""
    session = quick_session(server.url, "an-old-token", reload_token=lambda: server.token("worker"))
    assert username(session) == "worker"


def test_a_stop_ends_the_waiting_that_the_server_asked_for(server: DevServer) -> None:
    """`Retry-After` is obeyed, but not beyond the daemon's own end."""
    clear(server)
    server.set_faults(
        rules=[{"action": "status", "status": 429, "headers": {"Retry-After": "800"}}]
    )
    stop = threading.Event()
    patient = RetryOptions(total_s=2000)
    session = quick_session(server.url, server.token("worker"), stop=stop, retry=patient)
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    with pytest.raises(RequestFailed) as caught:
        username(session)
    timer.join()
    assert caught.value.retry_after_s == 800
    assert asked(server, "GET /user") == 2
    clear(server)


def test_the_servers_clock_is_read_from_its_replies() -> None:
    """Ages must not depend on this machine's idea of time."""
    late = {"Date": "Wed, 01 Jan 2031 00:00:00 GMT", **JSON}
    with HttpStub(lambda _request: Reply(200, b'{"username": "x"}', late)) as stub:
        session = quick_session(stub.url, "token")
        username(session)
        assert session.clock.now().year == 2031
        assert session.clock.skew_s() < -86_400


def test_the_token_stays_at_home_when_a_reply_leads_elsewhere() -> None:
    """A redirect to a host that nobody named is refused; a named one sees no credential."""
    with HttpStub(lambda _request: Reply(200, b'{"username": "stranger"}', JSON)) as other:
        named = other.url.replace("127.0.0.1", "localhost")

        def redirect(_request: Request) -> Reply:
            return Reply(302, headers={"Location": f"{named}/user"})

        with HttpStub(redirect) as home:
            with pytest.raises(Forbidden, match="localhost"):
                username(quick_session(home.url, "secret-token"))
            assert other.seen == []
            allowed = quick_session(
                home.url, "secret-token", storage_hosts=frozenset({"localhost"})
            )
            assert username(allowed) == "stranger"
            assert "secret-token" in home.seen[-1].headers["Authorization"]
            assert "Authorization" not in other.seen[-1].headers


def test_the_token_is_in_no_log_and_no_error(
    server: DevServer, session: GitLabSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even with every library at its most talkative."""
    caplog.set_level(logging.DEBUG)
    server.set_faults(rules=[{"action": "drop"}])
    with pytest.raises(Unavailable) as caught:
        username(session)
    assert caplog.text
    assert server.token("worker") not in caplog.text + str(caught.value) + repr(caught.value)


def test_a_reply_that_only_trickles_is_given_up() -> None:
    """Each byte comes in time, but the whole never would."""
    stop = threading.Event()

    def trickle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stop.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = TransportOptions(total_s=0.1, retry=RetryOptions(attempts=1))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        session = GitLabSession(url, "token", options=options)
        serving = threading.Thread(target=lambda: trickle(listener.accept()[0]))
        serving.start()
        with pytest.raises(RequestFailed, match="not received within"):
            username(session)
        stop.set()
        serving.join()


def test_requests_slow_down_before_the_limit_is_used_up() -> None:
    """A server that tells how little is left is listened to."""
    headers = {"RateLimit-Limit": "100", "RateLimit-Remaining": "3", **JSON}
    headers["Date"] = "Wed, 01 Jan 2031 00:00:00 GMT"
    headers["RateLimit-Reset"] = "1924992060"  # a minute later
    with HttpStub(lambda _request: Reply(200, b'{"username": "x"}', headers)) as stub:
        session = quick_session(stub.url, "token")
        username(session)
        waiting = threading.Thread(target=username, args=(session,))
        waiting.start()
        waiting.join(0.3)
        assert len(stub.seen) == 1
        session.stop.set()
        waiting.join()
        assert len(stub.seen) == 2


def test_graphql_answers_with_its_data(session: GitLabSession) -> None:
    """Through the same connection, with the same token."""
    assert session.graphql("{ currentUser { username } }", {}) == {
        "currentUser": {"username": "worker"}
    }


def test_a_server_that_knows_no_such_field_is_told_apart(session: GitLabSession) -> None:
    """The catalogue then takes another way instead of failing."""
    with pytest.raises(GraphQLUnsupported):
        session.graphql("{ currentUser { shoeSize } }", {})


def test_a_query_that_is_too_heavy_says_so(session: GitLabSession) -> None:
    """Complexity and timeouts share one remedy: ask for less."""
    heavy = '{ projects(first: 100) { nodes { repository { branchNames(limit: 1, offset: 0, searchPattern: "*") } } } }'
    with pytest.raises(RequestFailed) as caught:
        session.graphql(heavy, {})
    assert caught.value.status == 503


def test_a_blob_is_read_exactly_and_not_beyond_a_bound(server: DevServer, tmp_path: Path) -> None:
    """What a stranger committed must not fill the memory."""
    session = quick_session(server.url, server.token("worker"))
    project = session.call(lambda: session.client.projects.get("bible/demo"))
    tree = session.call(lambda: project.repository_tree(get_all=True))
    readme = next(entry for entry in tree if entry["name"] == "README.md")
    whole = session.read_blob(str(project.id), readme["id"], 1 << 20)
    assert whole
    assert session.read_blob(str(project.id), readme["id"], 4) == whole[:4]
