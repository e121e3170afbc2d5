"""`--project-dir`: a directory as the only project, and where its large objects are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from gitlab_jobs.errors import ConfigError
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.local_store import LocalCatalog, LocalStore
from gitlab_jobs.paths import MANIFEST_PATH, response_path
from gitlab_jobs.scanner import JobScanner
from gitlab_jobs.store import Create, CreatePointer

AUDIO = b"\x1aE\xdf\xa3" + b"opus" * 500
POINTER = Pointer(hashlib.sha256(AUDIO).hexdigest(), len(AUDIO))
TAKE = ".project/attachments/pointers/MAT/audio-1.webm"
TWIN = ".project/attachments/files/MAT/audio-1.webm"
MANIFEST = """version: 1
jobs:
  - job_id: one
    job_type: asr
    mode: training
    model:
      type: W2V2BERT
"""


def write(root: Path, path: str, content: bytes | str) -> Path:
    """Put a file into a project."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)
    return target


def quiet(_done: int, _total: int) -> None:
    """A listener for transfers that nobody watches."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project in a plain folder, with one job."""
    write(tmp_path, "project/metadata.json", "{}")
    write(tmp_path, f"project/{MANIFEST_PATH}", MANIFEST)
    return tmp_path / "project"


def test_a_directory_that_is_not_there_or_is_something_else_is_named(tmp_path: Path) -> None:
    """Code 66: the named input is missing."""
    (tmp_path / "pictures").mkdir()
    for name in ("nowhere", "pictures"):
        with pytest.raises(ConfigError, match=name) as caught:
            LocalCatalog(tmp_path / name).account()
        assert caught.value.exit_code == 66
        assert caught.value.hint


def test_the_owner_of_the_process_is_the_account(root: Path) -> None:
    """No token, no server."""
    account = LocalCatalog(root).account()
    assert account.user_id == str(os.getuid())
    assert account.expires_at is None


def test_a_scanner_sees_a_job_come_run_and_end(root: Path) -> None:
    """The same logic as on a server, with a folder below it."""
    catalog = LocalCatalog(root)
    looking = JobScanner(catalog)
    [candidate] = looking.scan().candidates
    store = catalog.open(candidate.project)
    store.commit([Create(response_path("one"), b"state: running\n")], "claim")
    assert looking.scan().candidates == ()
    (root / response_path("one")).unlink()
    assert len(looking.scan().candidates) == 1
    write(root, response_path("one"), "state: completed\n")
    assert looking.scan().candidates == ()


def test_the_branch_of_a_checkout_is_read_from_git(root: Path) -> None:
    """As the editor left it."""
    assert LocalStore(root).project.default_branch == "main"
    write(root, ".git/HEAD", "ref: refs/heads/translation/draft\n")
    assert LocalStore(root).project.default_branch == "translation/draft"


@pytest.mark.parametrize(
    "place",
    [
        TWIN,
        TAKE,
        f".git/lfs/objects/{POINTER.oid[:2]}/{POINTER.oid[2:4]}/{POINTER.oid}",
        f".scriptorium/objects/{POINTER.oid[:2]}/{POINTER.oid[2:4]}/{POINTER.oid}",
    ],
)
def test_audio_is_found_wherever_the_editor_or_git_keeps_it(root: Path, place: str) -> None:
    """Without copying it."""
    write(root, TAKE, POINTER.text())
    file = write(root, place, AUDIO)
    store = LocalStore(root)
    assert store.snapshot().files[TAKE] == POINTER.text()
    assert store.fetch_objects([POINTER], quiet) == {POINTER.oid: file}


def test_a_placeholder_whose_audio_is_beside_it_counts_as_a_recording(root: Path) -> None:
    """A pointer that got lost; the editor heals it at its next sync."""
    write(root, TAKE, b"")
    write(root, TWIN, AUDIO)
    store = LocalStore(root)
    assert store.snapshot().files[TAKE] == POINTER.text()
    assert set(store.fetch_objects([POINTER], quiet)) == {POINTER.oid}


def test_a_twin_with_other_bytes_is_not_the_object(root: Path) -> None:
    """A re-recording that was not synced yet must not be taken for the old take."""
    write(root, TAKE, POINTER.text())
    write(root, TWIN, AUDIO[::-1])
    assert LocalStore(root).fetch_objects([POINTER], quiet) == {}


def test_an_object_that_is_a_pointer_is_followed(root: Path) -> None:
    """Also to nothing, without turning in circles."""
    nested = Pointer(hashlib.sha256(POINTER.text()).hexdigest(), len(POINTER.text()))
    write(root, f".git/lfs/objects/{nested.oid[:2]}/{nested.oid[2:4]}/{nested.oid}", POINTER.text())
    store = LocalStore(root)
    assert store.fetch_objects([nested], quiet) == {}
    write(root, f".git/lfs/objects/{POINTER.oid[:2]}/{POINTER.oid[2:4]}/{POINTER.oid}", AUDIO)
    assert store.fetch_objects([nested], quiet)[nested.oid].read_bytes() == AUDIO


def test_a_new_take_can_be_played_at_once(root: Path, tmp_path: Path) -> None:
    """Its bytes lie where the editor looks first; a checkpoint's do not."""
    store = LocalStore(root)
    file = write(tmp_path, "take.webm", AUDIO)
    pointer = store.send_objects([file], quiet)[file]
    model = "gpu_jobs/job_one/checkpoint/best_model.pt"
    store.commit([CreatePointer(TAKE, pointer), CreatePointer(model, pointer)], "publish")
    assert (root / TWIN).read_bytes() == AUDIO
    assert (root / TAKE).read_bytes() == (root / model).read_bytes() == POINTER.text()
    assert sorted(path.name for path in (root / "gpu_jobs/job_one/checkpoint").iterdir()) == [
        "best_model.pt"
    ]


def test_objects_of_a_checkout_go_where_git_lfs_finds_them(root: Path, tmp_path: Path) -> None:
    """So that `git lfs push` can take them along."""
    write(root, ".git/HEAD", "ref: refs/heads/main\n")
    file = write(tmp_path, "take.webm", AUDIO)
    LocalStore(root).send_objects([file], quiet)
    oid = POINTER.oid
    assert (root / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid).read_bytes() == AUDIO
