"""Large objects over a bad network: nothing twice, nothing wrong, nothing to strangers."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.devserver import DevServer, project, write_world
from support.gitlab_clients import asked, clear, project_ref, quick_session
from support.http_stub import HttpStub, Reply, Request

from gitlab_jobs.errors import Denied, Forbidden, Missing, StoreError, Unavailable
from gitlab_jobs.gitlab_transport import origin
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.lfs_transfer import LfsTransfer
from gitlab_jobs.object_cache import ObjectCache
from gitlab_jobs.store import ProjectRef

BIG = bytes(range(256)) * 20_000  # five blocks of reading
BATCH = "POST lfs batch"


@dataclass
class Bench:
    """A project, the way to it, and what is needed for a second box."""

    server: DevServer
    project: ProjectRef
    transfer: LfsTransfer
    folder: Path

    def another_box(self, name: str = "other") -> LfsTransfer:
        """A transfer with an empty cache."""
        session = quick_session(self.server.url, self.server.token("worker"))
        return LfsTransfer(session, ObjectCache(self.folder / name))

    def sent(self, *contents: bytes) -> list[Pointer]:
        """Objects that are on the server (and in no cache)."""
        files = []
        for number, content in enumerate(contents):
            file = self.folder / f"sent-{number}.bin"
            file.write_bytes(content)
            files.append(file)
        pointers = self.transfer.send(self.project, files, quiet)
        clear(self.server)
        return [pointers[file] for file in files]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """Many projects, so that every test has objects of its own; one has LFS switched off."""
    folder = tmp_path_factory.mktemp("gitlab")
    projects = [project(f"bible/p{number}") for number in range(40)]
    projects.append(project("bible/no-lfs", lfs=False))
    projects.append(project("bible/readable", members={"worker": 20, "translator": 40}))
    config = write_world(folder, projects=projects)
    with DevServer(folder / "root", config, in_process=True) as running:
        yield running


@pytest.fixture(scope="module")
def fresh() -> Iterator[str]:
    """Projects that no test has touched."""
    return iter(f"bible/p{number}" for number in range(40))


@pytest.fixture
def bench(server: DevServer, fresh: Iterator[str], tmp_path: Path) -> Iterator[Bench]:
    """One project and an empty cache."""
    clear(server)
    session = quick_session(server.url, server.token("worker"))
    transfer = LfsTransfer(session, ObjectCache(tmp_path / "cache"))
    yield Bench(server, project_ref(server, next(fresh)), transfer, tmp_path)
    clear(server)


def quiet(_done: int, _total: int) -> None:
    """A listener for transfers that nobody watches."""


def pointer_of(content: bytes) -> Pointer:
    """What stands for these bytes."""
    return Pointer(hashlib.sha256(content).hexdigest(), len(content))


def test_a_second_fetch_moves_no_byte_and_asks_nothing(bench: Bench) -> None:
    """All jobs of a box share one cache."""
    pointers = bench.sent(b"one", b"two", b"")
    first = bench.transfer.fetch(bench.project, pointers, quiet)
    assert [first[pointer.oid].read_bytes() for pointer in pointers] == [b"one", b"two", b""]
    clear(bench.server)
    assert bench.transfer.fetch(bench.project, pointers, quiet) == first
    assert bench.server.requests()["total"] == 0
    assert bench.transfer.counts.downloaded_bytes == 6


def test_what_the_server_has_is_not_sent_again(bench: Bench) -> None:
    """Only asked about."""
    bench.sent(b"same bytes")
    before = bench.transfer.counts.uploaded_bytes
    bench.sent(b"same bytes")
    assert bench.transfer.counts.uploaded_bytes == before == len(b"same bytes")


@pytest.mark.parametrize("keep_bytes", [0, 1_000_000, 3_000_000])
def test_a_download_that_breaks_off_goes_on_where_it_was(bench: Bench, keep_bytes: int) -> None:
    """What arrived before the break is not sent a second time."""
    [pointer] = bench.sent(BIG)
    bench.server.set_faults(
        rules=[
            {"method": "GET", "endpoint": "lfs object", "action": "truncate", "count": 1}
            | {"keep_bytes": keep_bytes}
        ]
    )
    found = bench.transfer.fetch(bench.project, [pointer], quiet)
    assert found[pointer.oid].read_bytes() == BIG
    objects = bench.server.requests()["endpoints"]["GET lfs object"]
    assert objects["requests"] == 2
    assert objects["statuses"].get("206", 0) == (1 if keep_bytes else 0)
    assert objects["bytes_out"] <= len(BIG) + 70_000


def test_a_download_goes_on_after_the_process_ended(bench: Bench) -> None:
    """The partial file is found again by the next run."""
    [pointer] = bench.sent(BIG)
    bench.server.set_faults(
        rules=[
            {
                "method": "GET",
                "endpoint": "lfs object",
                "action": "truncate",
                "keep_bytes": 3_000_000,
            }
        ]
    )
    with pytest.raises(Unavailable):
        bench.transfer.fetch(bench.project, [pointer], quiet)
    clear(bench.server)
    next_run = bench.another_box("cache")
    assert next_run.fetch(bench.project, [pointer], quiet)[pointer.oid].read_bytes() == BIG
    assert next_run.counts.downloaded_bytes < len(BIG)


def test_a_partial_file_with_wrong_bytes_is_thrown_away(bench: Bench) -> None:
    """Resuming on top of rubbish gives rubbish, which the hash finds out."""
    [pointer] = bench.sent(BIG)
    partial = bench.folder / "cache/partial" / pointer.oid
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"rubbish" * 100)
    found = bench.transfer.fetch(bench.project, [pointer], quiet)
    assert found[pointer.oid].read_bytes() == BIG


@pytest.mark.parametrize("size", [len(BIG), len(BIG) + 10])
def test_a_partial_file_that_is_full_but_wrong_is_thrown_away_too(bench: Bench, size: int) -> None:
    """Then there is no rest to ask for, and the server would refuse the range."""
    [pointer] = bench.sent(BIG)
    partial = bench.folder / "cache/partial" / pointer.oid
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * size)
    found = bench.transfer.fetch(bench.project, [pointer], quiet)
    assert found[pointer.oid].read_bytes() == BIG


def test_wrong_bytes_from_the_server_never_reach_a_job(bench: Bench) -> None:
    """An object damaged on the server counts as one it does not have; the others arrive."""
    damaged, whole = bench.sent(b"damaged on disk", b"as it was")
    bench.server.set_faults(
        rules=[
            {
                "method": "GET",
                "endpoint": f"*/{damaged.oid}",
                "action": "status",
                "status": 200,
                "body": "DAMAGED ON DISK",
            }
        ]
    )
    found = bench.transfer.fetch(bench.project, [damaged, whole], quiet)
    assert set(found) == {whole.oid}
    assert bench.transfer.cache.find(damaged) is None


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_link_that_has_expired_is_asked_for_again(bench: Bench, method: str, status: int) -> None:
    """Once; and a refused link is not a refused token."""
    content = b"takes a while"
    pointer = bench.sent(content)[0] if method == "GET" else pointer_of(content)
    file = bench.folder / "file.bin"
    file.write_bytes(content)
    bench.server.set_faults(
        rules=[
            {"method": method, "endpoint": "lfs object", "action": "status", "count": 1}
            | {"status": status}
        ]
    )
    if method == "GET":
        assert set(bench.transfer.fetch(bench.project, [pointer], quiet)) == {pointer.oid}
    else:
        assert bench.transfer.send(bench.project, [file], quiet) == {file: pointer}
    assert asked(bench.server, f"{method} lfs object") == 2


def test_an_upload_survives_a_broken_connection(bench: Bench) -> None:
    """The object is sent whole again: LFS has no way to go on in the middle."""
    file = bench.folder / "model.pt"
    file.write_bytes(BIG)
    bench.server.set_faults(
        rules=[
            {"method": "PUT", "endpoint": "lfs object", "action": "drop", "count": 1},
            {"method": "PUT", "endpoint": "lfs object", "action": "lose_reply", "count": 1},
        ]
    )
    pointer = bench.transfer.send(bench.project, [file], quiet)[file]
    clear(bench.server)
    found = bench.another_box().fetch(bench.project, [pointer], quiet)
    assert found[pointer.oid].read_bytes() == BIG


def test_an_upload_that_the_server_forgot_is_an_error(bench: Bench) -> None:
    """A polite 200 is not enough: the server is asked whether it has the object."""
    file = bench.folder / "model.pt"
    file.write_bytes(b"weights")
    bench.server.set_faults(
        rules=[{"method": "PUT", "endpoint": "lfs object", "action": "status", "status": 200}]
    )
    with pytest.raises(StoreError, match="did not keep"):
        bench.transfer.send(bench.project, [file], quiet)


def test_more_objects_than_a_batch_holds_are_asked_for_in_batches(bench: Bench) -> None:
    """A hundred at a time."""
    contents = [b"object %d" % number for number in range(230)]
    pointers = bench.sent(*contents)
    found = bench.transfer.fetch(bench.project, pointers, quiet)
    assert len(found) == 230
    assert asked(bench.server, BATCH) == 3


def test_the_same_bytes_under_two_names_are_one_object(bench: Bench) -> None:
    """Named by content, moved once."""
    files = [bench.folder / "a.bin", bench.folder / "b.bin"]
    for file in files:
        file.write_bytes(b"twice the same")
    pointers = bench.transfer.send(bench.project, files, quiet)
    assert pointers[files[0]] == pointers[files[1]]
    assert bench.transfer.counts.uploaded_bytes == len(b"twice the same")


def test_an_object_that_is_a_pointer_is_followed(bench: Bench) -> None:
    """Editors have uploaded pointers as if they were audio; the audio is what counts."""
    [audio] = bench.sent(b"the real audio")
    [once] = bench.sent(audio.text())
    [twice] = bench.sent(once.text())
    dangling = bench.sent(Pointer("12" * 32, 99).text())[0]
    found = bench.transfer.fetch(bench.project, [twice, dangling], quiet)
    assert {oid: path.read_bytes() for oid, path in found.items()} == {twice.oid: b"the real audio"}


def test_a_listener_can_stop_a_transfer(bench: Bench) -> None:
    """A cancel must not wait for gigabytes."""
    pointers = bench.sent(*(BIG + b"%d" % number for number in range(8)))

    class Enough(Exception):
        pass

    def stop(done: int, _total: int) -> None:
        if done:
            raise Enough

    with pytest.raises(Enough):
        bench.transfer.fetch(bench.project, pointers, stop)
    assert asked(bench.server, "GET lfs object") < len(pointers)


def test_two_boxes_sharing_a_cache_fetch_an_object_once(bench: Bench) -> None:
    """The second waits for the first instead of loading the line twice."""
    [pointer] = bench.sent(BIG)
    boxes = [bench.transfer, bench.another_box("cache")]
    bench.server.set_faults(
        rules=[{"method": "GET", "endpoint": "lfs object", "latency_s": 0.3, "action": "pass"}]
    )
    threads = [
        threading.Thread(target=box.fetch, args=(bench.project, [pointer], quiet)) for box in boxes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked(bench.server, "GET lfs object") == 1
    assert all(box.cache.find(pointer) for box in boxes)


def test_a_project_without_lfs_is_refused_in_words(bench: Bench) -> None:
    """Not a passing fault."""
    project = project_ref(bench.server, "bible/no-lfs")
    with pytest.raises(Missing):
        bench.transfer.fetch(project, [pointer_of(b"x")], quiet)


def test_an_upload_without_the_right_to_push_is_refused(bench: Bench) -> None:
    """Before any byte is sent."""
    file = bench.folder / "x.bin"
    file.write_bytes(b"x")
    project = project_ref(bench.server, "bible/readable")
    with pytest.raises(Forbidden):
        bench.transfer.send(project, [file], quiet)
    assert asked(bench.server, "PUT lfs object") == 0


def test_a_bad_token_is_not_tried_again(bench: Bench) -> None:
    """LFS logins that fail repeatedly get an address banned."""
    session = quick_session(bench.server.url, "token-nobody")
    transfer = LfsTransfer(session, ObjectCache(bench.folder / "nobody"))
    for _ in range(2):
        with pytest.raises(Denied):
            transfer.fetch(bench.project, [pointer_of(b"x")], quiet)
    assert asked(bench.server, BATCH) == 1


def lfs_answer(link: str, content: bytes) -> Reply:
    """A batch reply whose every object is at one link."""
    header = {"Authorization": "Basic for-this-link-only", "X-Own": "1"}
    action = {"href": link, "header": header}
    entry = {**vars_of(pointer_of(content)), "actions": {"download": action, "upload": action}}
    body = json.dumps({"objects": [entry]}).encode()
    return Reply(200, body, {"Content-Type": "application/vnd.git-lfs+json"})


def vars_of(pointer: Pointer) -> dict[str, object]:
    """A pointer as a batch names it."""
    return {"oid": pointer.oid, "size": pointer.size}


@pytest.mark.parametrize("operation", ["fetch", "send"])
def test_a_link_to_a_stranger_is_not_followed(tmp_path: Path, operation: str) -> None:
    """Neither to read from nor to write to, unless the operator named the host."""
    content = b"some audio"
    file = tmp_path / "file.bin"
    file.write_bytes(content)
    project = ProjectRef("1", "a/b", "main")

    def use(transfer: LfsTransfer) -> None:
        if operation == "fetch":
            found = transfer.fetch(project, [pointer_of(content)], quiet)
            assert found[pointer_of(content).oid].read_bytes() == content
        else:
            transfer.send(project, [file], quiet)

    with HttpStub(lambda _request: Reply(200, content)) as storage:
        link = f"{storage.url.replace('127.0.0.1', 'localhost')}/object"
        batches: list[Request] = []

        def gitlab(request: Request) -> Reply:
            batches.append(request)
            if operation == "send" and len(storage.seen) == 1:
                entry = json.dumps({"objects": [vars_of(pointer_of(content))]})
                return Reply(200, entry.encode())
            return lfs_answer(link, content)

        with HttpStub(gitlab) as home:
            strict = LfsTransfer(quick_session(home.url, "own-token"), ObjectCache(tmp_path / "a"))
            with pytest.raises(Forbidden, match="localhost"):
                use(strict)
            assert storage.seen == []
            hosts = frozenset({f"localhost:{origin(storage.url).port}"})
            session = quick_session(home.url, "own-token", storage_hosts=hosts)
            use(LfsTransfer(session, ObjectCache(tmp_path / "b")))
    assert [request.headers["Authorization"] for request in storage.seen] == [
        "Basic for-this-link-only"
    ]
    assert storage.seen[0].headers["X-Own"] == "1"
    if operation == "send":
        assert storage.seen[0].body == content
        assert storage.seen[0].headers["Content-Type"] == "application/octet-stream"
        assert storage.seen[0].headers["Content-Length"] == str(len(content))
        assert "Transfer-Encoding" not in storage.seen[0].headers
