"""What every adapter of the store port promises, with real files, real git and a real server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.devserver import DevServer, project, write_world
from support.store_worlds import (
    BASE_FILES,
    NOTEBOOK,
    OLD_TAKE,
    TAKE,
    GitLabWorld,
    LocalWorld,
    StoreWorld,
)

from gitlab_jobs.errors import AlreadyExists, Conflict, Missing, StoreError
from gitlab_jobs.git_objects import blob_id
from gitlab_jobs.lfs import Pointer, parse_pointer
from gitlab_jobs.store import Change, Create, CreatePointer, Delete, Guard, Move, Update

ADAPTERS = ("folder", "checkout", "gitlab")
PROJECTS = [f"bible/p{number}" for number in range(40)]


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[tuple[DevServer, str]]]:
    """Fresh projects on one server that is a process of its own."""
    folder = tmp_path_factory.mktemp("gitlab")
    config = write_world(folder, projects=[project(path, files=BASE_FILES) for path in PROJECTS])
    with DevServer(folder / "root", config) as server:
        yield ((server, path) for path in PROJECTS)


@pytest.fixture(params=ADAPTERS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreWorld]:
    """The project behind each adapter in turn."""
    if request.param == "gitlab":
        server, path = next(request.getfixturevalue("projects"))
        gitlab = GitLabWorld(server, path, tmp_path / "cache")
        yield gitlab
        gitlab.session.close()
    else:
        yield LocalWorld(tmp_path / "project", with_git=request.param == "checkout")


def quiet(_done: int, _total: int) -> None:
    """A listener for transfers that nobody watches."""


def test_files_are_read_byte_for_byte_with_gits_own_name_for_them(world: StoreWorld) -> None:
    """Any script, any encoding, no final newline, no text at all."""
    contents = {
        "files/target/A.codex": "Ж ተ — \r\n end without newline".encode(),
        "gpu_jobs/job_a/bom.yaml": b"\xef\xbb\xbfa: 1\n",
        "gpu_jobs/job_a/latin.txt": b"caf\xe9\n",
        "gpu_jobs/job_a/empty.txt": b"",
        "gpu_jobs/job_a/bytes.bin": bytes(range(256)),
    }
    for path, content in contents.items():
        world.person_writes(path, content)
    found = world.store.read([*contents, "gpu_jobs/absent.yaml"])
    assert {path: version.content for path, version in found.items()} == contents
    assert all(version.blob_id == blob_id(contents[path]) for path, version in found.items())
    assert all(version.commit_id for version in found.values())


def test_one_file_and_no_file_are_read_too(world: StoreWorld) -> None:
    """Short reads take a different way in one adapter, so they are tried apart."""
    assert world.store.read([]) == {}
    assert world.store.read(["gpu_jobs/absent.yaml"]) == {}
    found = world.store.read([NOTEBOOK])
    assert found[NOTEBOOK].content == BASE_FILES[NOTEBOOK]


def test_files_are_read_as_they_were_around_a_commit(world: StoreWorld) -> None:
    """How a publisher finds out afterwards whether it has overwritten somebody."""
    path = "gpu_jobs/job_a/notes.txt"
    base = world.store.read([NOTEBOOK, path])[NOTEBOOK].commit_id
    committed = world.store.commit([Create(path, b"one\n"), Update(NOTEBOOK, b"{}", base)], "both")
    world.store.commit([Update(path, b"two\n"), Update(NOTEBOOK, b"[]")], "again")
    for names in ([NOTEBOOK], [NOTEBOOK, path]):
        before = world.store.read(names, committed.parent_id)
        assert {p: found.content for p, found in before.items()} == {NOTEBOOK: BASE_FILES[NOTEBOOK]}
        after = world.store.read(names, committed.id)
        assert after[NOTEBOOK].content == b"{}"
        assert after[NOTEBOOK].blob_id == blob_id(b"{}")
    assert world.store.read([NOTEBOOK], base)[NOTEBOOK].content == BASE_FILES[NOTEBOOK]


def test_a_revision_that_nobody_knows_has_no_files(world: StoreWorld) -> None:
    """Whoever asks for one learns nothing wrong."""
    try:
        found = world.store.read([NOTEBOOK], "ab" * 20)
    except Missing:
        found = {}
    assert found == {}


def test_the_last_commit_of_a_path_is_named_where_there_is_a_history(world: StoreWorld) -> None:
    """The way back to a commit whose reply was lost."""
    committed = world.store.commit([Create("gpu_jobs/a.yaml", b"1")], "create")
    world.store.commit([Create("gpu_jobs/b.yaml", b"1")], "another")
    found = world.store.last_commit("gpu_jobs/a.yaml")
    assert found == (committed if isinstance(world, GitLabWorld) else None)
    assert world.store.last_commit("gpu_jobs/absent.yaml") is None


def test_a_commit_is_found_again_by_its_mark_whoever_came_after_it(world: StoreWorld) -> None:
    """However many touched the same path since; a mark that nobody wrote is nowhere."""
    world.store.commit([Create("gpu_jobs/a.yaml", b"0")], "create")
    committed = world.store.commit(
        [Update("gpu_jobs/a.yaml", b"1")], "change\n\nScriptorium-Mark: c0ffee"
    )
    for number in range(3):
        world.store.commit([Update("gpu_jobs/a.yaml", b"later %d" % number)], "change again")
    found = world.store.last_commit("gpu_jobs/a.yaml", "c0ffee")
    assert found == (committed if isinstance(world, GitLabWorld) else None)
    assert world.store.last_commit("gpu_jobs/a.yaml", "decaf") is None


def test_a_commit_applies_all_its_changes_in_order(world: StoreWorld) -> None:
    """A file may be created and deleted within one commit."""
    world.person_writes("gpu_jobs/job_a/lease/1-aa.yaml", b"n: 1\n")
    committed = world.store.commit(
        [
            Create("gpu_jobs/job_a/response.yaml", b"state: running\n"),
            Move("gpu_jobs/job_a/lease/1-aa.yaml", "gpu_jobs/job_a/lease/2-aa.yaml", b"n: 2\n"),
            Update(NOTEBOOK, b"{}"),
            Guard("metadata.json"),
            Create("gpu_jobs/job_a/passing.txt", b"x"),
            Delete("gpu_jobs/job_a/passing.txt"),
        ],
        "many things",
    )
    assert committed.id != committed.parent_id
    assert world.content("gpu_jobs/job_a/response.yaml") == b"state: running\n"
    assert world.content("gpu_jobs/job_a/lease/1-aa.yaml") is None
    assert world.content("gpu_jobs/job_a/lease/2-aa.yaml") == b"n: 2\n"
    assert world.content(NOTEBOOK) == b"{}"
    assert world.content("gpu_jobs/job_a/passing.txt") is None
    assert world.content("metadata.json") == BASE_FILES["metadata.json"]


def test_a_move_without_content_keeps_the_bytes(world: StoreWorld) -> None:
    """As a rename in git does."""
    world.store.commit([Move("metadata.json", "gpu_jobs/moved.json")], "move")
    assert world.content("gpu_jobs/moved.json") == BASE_FILES["metadata.json"]
    assert world.content("metadata.json") is None


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (Create("metadata.json", b"x"), AlreadyExists),
        (Update("gpu_jobs/absent", b"x"), Missing),
        (Move("gpu_jobs/absent", "gpu_jobs/there"), Missing),
        (Move("metadata.json", NOTEBOOK), AlreadyExists),
        (Delete("gpu_jobs/absent"), Missing),
        (Guard("gpu_jobs/absent"), Missing),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, type) else value.__name__,
)
def test_a_failed_precondition_undoes_the_whole_commit(
    world: StoreWorld, broken: Change, error: type[StoreError]
) -> None:
    """Existence is the lock, and a commit is all or nothing."""
    with pytest.raises(error):
        world.store.commit([Create("gpu_jobs/first.txt", b"1"), broken], "must not happen")
    assert world.content("gpu_jobs/first.txt") is None
    assert {path: world.content(path) for path in BASE_FILES} == BASE_FILES


def test_an_update_from_a_stale_base_is_a_conflict(world: StoreWorld) -> None:
    """The early check that keeps a person's edit from being overwritten."""
    base = world.store.read([NOTEBOOK])[NOTEBOOK].commit_id
    world.person_writes(NOTEBOOK, b'{"cells": ["a person was here"]}')
    with pytest.raises(Conflict):
        world.store.commit([Update(NOTEBOOK, b"{}", base)], "from an old reading")
    newer = world.store.read([NOTEBOOK])[NOTEBOOK].commit_id
    world.store.commit([Update(NOTEBOOK, b"{}", newer)], "from the newest")
    assert world.content(NOTEBOOK) == b"{}"


def test_the_own_commit_is_a_base_as_well(world: StoreWorld) -> None:
    """What a commit returned may be named in the next one."""
    first = world.store.commit([Create("gpu_jobs/a.yaml", b"1")], "create")
    second = world.store.commit([Update("gpu_jobs/a.yaml", b"2", first.id)], "update")
    world.person_writes("gpu_jobs/a.yaml", b"3")
    with pytest.raises(Conflict):
        world.store.commit([Update("gpu_jobs/a.yaml", b"4", second.id)], "update again")


def test_of_many_creators_of_one_path_one_wins(world: StoreWorld) -> None:
    """Two workers that claim together never both own the job."""
    outcomes: list[str] = []

    def claim(number: int) -> None:
        while True:
            try:
                world.store.commit([Create("gpu_jobs/lock", b"%d" % number)], "claim")
            except Conflict:
                continue
            except AlreadyExists:
                outcomes.append("lost")
            else:
                outcomes.append("won")
            return

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 4 + ["won"]


def test_a_snapshot_has_notebooks_pointers_and_root_files_only(world: StoreWorld) -> None:
    """Never media, never other people's files."""
    world.person_writes(".project/attachments/pointers/MAT/broken.flac", b"")
    world.person_writes(".project/sourceTexts/MAT.source", b"{}")
    world.person_writes("files/target/notes.txt", b"not a notebook")
    world.person_writes("gpu_jobs/job_a/logs.txt", b"a log")
    snapshot = world.store.snapshot()
    assert snapshot.files == {
        ".gitattributes": BASE_FILES[".gitattributes"],
        "metadata.json": BASE_FILES["metadata.json"],
        NOTEBOOK: BASE_FILES[NOTEBOOK],
        OLD_TAKE: BASE_FILES[OLD_TAKE],
    }
    assert snapshot.revision


def test_raw_audio_in_a_pointers_place_is_offered_as_the_pointer_it_stands_for(
    world: StoreWorld,
) -> None:
    """Audio that was committed by mistake, or not synced yet, is usable all the same."""
    audio = b"\x1aE\xdf\xa3" + bytes(1000)
    world.person_writes(".project/attachments/pointers/MAT/raw.flac", audio)
    text = world.store.snapshot().files[".project/attachments/pointers/MAT/raw.flac"]
    pointer = parse_pointer(text)
    assert pointer == Pointer(hashlib.sha256(audio).hexdigest(), len(audio))
    found = world.store.fetch_objects([pointer], quiet)
    assert found[pointer.oid].read_bytes() == audio


def test_objects_sent_come_back_the_same(world: StoreWorld, tmp_path: Path) -> None:
    """Small and large ones, with progress told to the end."""
    files = [tmp_path / f"{name}.bin" for name in "abc"]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]) * (number * 100_000 + 1))
    sent = world.store.send_objects(files, quiet)
    assert {file: pointer.size for file, pointer in sent.items()} == {
        file: file.stat().st_size for file in files
    }
    changes = [
        CreatePointer(f"gpu_jobs/job_a/checkpoint/{file.name}", sent[file]) for file in files
    ]
    world.store.commit(changes, "publish")
    seen: list[tuple[int, int]] = []
    found = world.store.fetch_objects(sent.values(), lambda done, total: seen.append((done, total)))
    assert {sent[file].oid: file.read_bytes() for file in files} == {
        oid: path.read_bytes() for oid, path in found.items()
    }
    assert seen[-1] == (3, 3)


def test_objects_that_nobody_has_are_left_out(world: StoreWorld) -> None:
    """A recording that never reached the server must not fail a job."""
    assert world.store.fetch_objects([Pointer("cd" * 32, 10)], quiet) == {}
    assert world.store.fetch_objects([], quiet) == {}


def test_a_pointer_lands_as_one_pointer_whether_its_path_is_tracked_or_not(
    world: StoreWorld, tmp_path: Path
) -> None:
    """The server wraps what is created at a tracked path; the adapter must get around it."""
    take = tmp_path / "take.webm"
    take.write_bytes(b"opus" * 1000)
    pointer = world.store.send_objects([take], quiet)[take]
    world.store.commit(
        [CreatePointer(TAKE, pointer), CreatePointer("gpu_jobs/job_a/model.pt", pointer)], "take"
    )
    assert world.content(TAKE) == pointer.text()
    assert world.content("gpu_jobs/job_a/model.pt") == pointer.text()
    assert world.content(TAKE + ".lfsptr") is None
    with pytest.raises(AlreadyExists):
        world.store.commit([CreatePointer(TAKE, pointer)], "again")


def test_a_pointer_without_its_object_is_refused(world: StoreWorld) -> None:
    """A dangling pointer would break every later push of the project."""
    with pytest.raises(StoreError):
        world.store.commit([CreatePointer(TAKE, Pointer("ef" * 32, 10))], "dangling")
    assert world.content(TAKE) is None


def test_the_age_of_a_file_counts_from_its_last_change(world: StoreWorld) -> None:
    """By the clock of the side that keeps the file."""
    assert world.store.age_s("gpu_jobs/absent") is None
    world.store.commit([Create("gpu_jobs/fresh.yaml", b"1")], "fresh")
    age_s = world.store.age_s("gpu_jobs/fresh.yaml")
    assert age_s is not None
    assert 0 <= age_s < 60


def test_the_owner_may_write(world: StoreWorld) -> None:
    """The check that comes before the first claim."""
    assert world.store.can_write()


def test_a_folder_lists_its_own_files_and_nothing_below(world: StoreWorld) -> None:
    """What claims and take-overs look at before they trust a lease's name."""
    world.person_writes("gpu_jobs/job_a/lease/1-00.yaml", b"one\n")
    world.person_writes("gpu_jobs/job_a/lease/2-00.yaml", b"two\n")
    world.person_writes("gpu_jobs/job_a/lease/deeper/3-00.yaml", b"three\n")
    assert sorted(world.store.list_folder("gpu_jobs/job_a/lease")) == [
        "gpu_jobs/job_a/lease/1-00.yaml",
        "gpu_jobs/job_a/lease/2-00.yaml",
    ]


def test_a_folder_that_is_not_there_is_empty(world: StoreWorld) -> None:
    """A missing folder is an ordinary answer, not an error."""
    assert world.store.list_folder("gpu_jobs/job_none/lease") == ()
