"""Every way of being started wrongly: one exit code, what failed, what to do, and no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.daemon import Daemon
from support.devserver import DevServer, project, user, write_world
from support.http_stub import HttpStub, Reply

TOKENS = {
    "reader": user({"value": "token-read-only", "scopes": ["read_api"]}),
    "expired": user({"value": "token-expired", "scopes": ["api"], "expires_at": "2020-01-01"}),
    "revoked": user({"value": "token-revoked", "scopes": ["api"], "revoked": True}),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One GitLab for all of these."""
    folder = tmp_path_factory.mktemp("server")
    config = write_world(folder, users=TOKENS, projects=[project("bible/demo", {"a": "b"})])
    with DevServer(folder / "root", config, in_process=True) as server:
        yield server


def refused(
    directory: Path, code: int, *words: str, arguments: tuple[str, ...] = (), **more: Any
) -> None:
    """Start a daemon that must refuse with this code, these words, and a hint."""
    with Daemon(directory, *arguments, "--loop-interval", "-1", **more) as daemon:
        assert daemon.wait() == code, daemon.log
        lines = daemon.log.splitlines()
        assert "Traceback" not in daemon.log
        assert daemon.output == ""
    message = next(line for line in lines if line.startswith("worker_entry.py: "))
    for word in words:
        assert word in message, message
    assert any(line.startswith("hint: ") and len(line) > 12 for line in lines), lines


def at(url: str) -> tuple[str, ...]:
    """The arguments that name a server."""
    return ("--gitlab-url", url)


def test_without_a_server(tmp_path: Path) -> None:
    """There is no built-in one."""
    refused(tmp_path, 78, "no GitLab server", token="token-worker")


def test_without_a_token(tmp_path: Path, server: DevServer) -> None:
    """Nor a token."""
    refused(tmp_path, 78, "no access token", arguments=at(server.url))


def test_with_a_server_that_is_no_gitlab(tmp_path: Path) -> None:
    """A page for people."""
    page = Reply(200, b"<html>Welcome</html>", {"Content-Type": "text/html"})
    with HttpStub(lambda _: page) as stub:
        words = "does not answer like a GitLab"
        refused(tmp_path, 78, stub.url, words, arguments=at(stub.url), token="token-worker")


def test_with_a_server_that_knows_no_such_address(tmp_path: Path) -> None:
    """Another program, which says 404 to everything."""
    with HttpStub(lambda _: Reply(404, b"not found")) as stub:
        words = "does not answer like a GitLab"
        refused(tmp_path, 78, words, arguments=at(stub.url), token="token-worker")


def test_with_a_server_that_answers_other_json(tmp_path: Path) -> None:
    """Some API, but not this one."""
    reply = Reply(200, b'{"status": "ok"}', {"Content-Type": "application/json"})
    with HttpStub(lambda _: reply) as stub:
        words = "does not answer like a GitLab"
        refused(tmp_path, 78, words, arguments=at(stub.url), token="token-worker")


def test_with_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    """Nobody listens; trying again may help, so the code is another one."""
    address = "http://127.0.0.1:9"
    refused(tmp_path, 69, "cannot be reached", arguments=at(address), token="token-worker")


def test_with_an_address_that_is_none(tmp_path: Path) -> None:
    """A forgotten scheme."""
    refused(tmp_path, 78, "gitlab.example", arguments=at("gitlab.example"), token="token-worker")


@pytest.mark.parametrize("token", ["token-unknown", "token-expired", "token-revoked"])
def test_with_a_token_that_is_refused(tmp_path: Path, server: DevServer, token: str) -> None:
    """Wrong, expired or revoked; the token itself is not shown."""
    refused(tmp_path, 77, "refused the access token", arguments=at(server.url), token=token)
    assert token not in (tmp_path / "worker.log").read_text(encoding="utf-8")


def test_with_a_token_that_may_only_read(tmp_path: Path, server: DevServer) -> None:
    """Its scope is named, and the one that is needed."""
    words = ("read_api", "`api`")
    refused(tmp_path, 77, *words, arguments=at(server.url), token="token-read-only")


def test_with_a_token_file_that_is_missing(tmp_path: Path, server: DevServer) -> None:
    """Named in the message."""
    arguments = (*at(server.url), "--token-file", str(tmp_path / "nowhere"))
    refused(tmp_path, 66, "cannot read the token file", "nowhere", arguments=arguments)


def test_with_a_token_file_that_others_can_read(tmp_path: Path, server: DevServer) -> None:
    """The hint is the command that mends it."""
    file = tmp_path / "token"
    file.write_text("token-worker\n", encoding="utf-8")
    file.chmod(0o644)
    arguments = (*at(server.url), "--token-file", str(file))
    refused(tmp_path, 78, "readable by others", arguments=arguments)
    assert "chmod 600" in (tmp_path / "worker.log").read_text(encoding="utf-8")


def test_with_an_empty_token_file(tmp_path: Path, server: DevServer) -> None:
    """As good as none."""
    file = tmp_path / "token"
    file.touch(mode=0o600)
    refused(tmp_path, 78, "empty", arguments=(*at(server.url), "--token-file", str(file)))


def test_with_an_unknown_flag(tmp_path: Path) -> None:
    """A usage error, which names the flag."""
    refused(tmp_path, 64, "--frobnicate", arguments=("--frobnicate", "3"))


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--keep-jobs", "many"), ("--keep-jobs", "-7"), ("--log-level", "loud"), ("--lease-s", "0")],
)
def test_with_a_value_that_cannot_be(tmp_path: Path, flag: str, value: str) -> None:
    """The setting is named."""
    name = flag.removeprefix("--").replace("-", "_")
    refused(tmp_path, 78, name, arguments=(flag, value))


def test_all_bad_values_are_named_at_once(tmp_path: Path) -> None:
    """Nobody wants to learn of them one by one."""
    arguments = ("--keep-jobs", "many", "--lease-s", "0")
    refused(tmp_path, 78, "keep_jobs", "lease_s", arguments=arguments)


def test_with_a_configuration_file_that_is_missing(tmp_path: Path) -> None:
    """Named in the message."""
    refused(tmp_path, 66, "nowhere.toml", arguments=("--config", str(tmp_path / "nowhere.toml")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("work_dir = ", "not valid TOML"),
        ("colour = 'blue'", "colour"),
        ("token = 'token-worker'", "holds a token"),
        ("[models.whisper]\nsize = 3", "models.whisper"),
    ],
)
def test_with_a_configuration_file_that_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    """Broken, with an unknown key, or with a secret that does not belong there."""
    file = tmp_path / "worker.toml"
    file.write_text(text, encoding="utf-8")
    refused(tmp_path, 78, words, arguments=("--config", str(file)))


def test_with_a_work_directory_that_is_in_use(tmp_path: Path, server: DevServer) -> None:
    """By another daemon, which is named and goes on."""
    arguments = (*at(server.url), "--loop-interval", "60")
    with Daemon(tmp_path, *arguments, token="token-worker") as first:
        first.await_log("is ready")
        work_dir = ("--work-dir", str(first.work_dir))
        words = ("in use by", f"process {first.process.pid}")
        arguments = (*at(server.url), *work_dir)
        with Daemon(tmp_path, *arguments, token="token-worker", name="second") as second:
            assert second.wait() == 81
            assert all(word in second.log for word in words), second.log
        assert first.process.poll() is None


def test_with_a_work_directory_that_cannot_be_made(tmp_path: Path, server: DevServer) -> None:
    """A file is in its place."""
    (tmp_path / "file").touch()
    arguments = (*at(server.url), "--work-dir", str(tmp_path / "file"))
    refused(
        tmp_path, 73, "cannot use the work directory", arguments=arguments, token="token-worker"
    )


@pytest.mark.parametrize(
    "content", [None, {}, {"notes.txt": "hello"}], ids=["none", "empty", "other"]
)
def test_with_a_directory_that_is_no_project(
    tmp_path: Path, content: dict[str, str] | None
) -> None:
    """Missing, empty, or about something else."""
    folder = tmp_path / "project"
    for name, text in (content or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    if content == {}:
        folder.mkdir()
    refused(tmp_path, 66, str(folder), arguments=("--project-dir", str(folder)))


def test_a_token_on_the_command_line_works_but_warns(tmp_path: Path, server: DevServer) -> None:
    """Everybody on the machine can read it there."""
    arguments = (*at(server.url), "--token", "token-worker", "--loop-interval", "-1")
    with Daemon(tmp_path, *arguments) as daemon:
        assert daemon.wait() == 0, daemon.log
        assert "--token-file" in daemon.log
        assert "token-worker" not in daemon.log
