"""What happens to LFS files that are committed through the API."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
import requests
from support.rest_api import NewRepo, Repo

from devserver.lfs_rules import is_tracked
from devserver.lfs_store import LfsStore, Pointer, parse_pointer

CONTENT = b"RIFF" + bytes(range(256))
TRACKED = {".gitattributes": "*.wav filter=lfs diff=lfs merge=lfs -text\n"}
MISSING = (
    'LFS objects are missing. Ensure LFS is properly set up or try a manual "git lfs push --all".'
)


def action(kind: str, path: str, content: bytes | None = None, **more: str) -> dict[str, Any]:
    """Return one action of the commits API."""
    body: dict[str, Any] = {"action": kind, "file_path": path, **more}
    if content is not None:
        body |= {"content": base64.b64encode(content).decode(), "encoding": "base64"}
    return body


def upload(repo: Repo, content: bytes) -> Pointer:
    """Make content an object of the project, as a client would."""
    pointer = Pointer.of(content)
    sent = requests.put(
        f"{repo.server.url}/{repo.project.path}.git/gitlab-lfs/objects/{pointer.oid}/{pointer.size}",
        data=content,
        headers={"Content-Type": "application/octet-stream"},
        auth=("oauth2", "token-worker"),
        timeout=10,
    )
    sent.raise_for_status()
    return pointer


@pytest.mark.parametrize(
    ("attributes", "path", "tracked"),
    [
        ("*.wav filter=lfs", "a.wav", True),
        ("*.wav filter=lfs", "deep/er/a.wav", True),
        ("*.wav filter=lfs", "a.mp3", False),
        ("# *.wav filter=lfs", "a.wav", False),
        ("*.wav -filter", "a.wav", False),
        ("*.wav diff=lfs", "a.wav", False),
        ("*.wav filter=lfs\n*.wav -filter", "a.wav", False),
        ("*.wav -filter\n\n  *.wav  filter=lfs  -text\r\n", "a.wav", True),
        ("audio/*.wav filter=lfs", "audio/x/a.wav", True),
        ("audio/*.wav filter=lfs", "other/audio/a.wav", False),
        ("take.wav filter=lfs", "audio/take.wav", False),
        ("[^a]*.wav filter=lfs", "b.wav", True),
        ("", "a.wav", False),
    ],
)
def test_the_last_line_that_matches_decides(attributes: str, path: str, *, tracked: bool) -> None:
    """Patterns are anchored at the root, and a star also crosses directories."""
    assert is_tracked(attributes.encode(), path) is tracked


def test_content_created_at_a_tracked_path_becomes_an_object(new_repo: NewRepo) -> None:
    """The server makes the object and commits the pointer."""
    repo = new_repo(TRACKED)
    assert repo.commit(action("create", "audio/a.wav", CONTENT)).status_code == 201
    stored = repo.text("audio/a.wav")
    assert stored == Pointer.of(CONTENT).text().decode()
    assert LfsStore(repo.server.root).path(Pointer.of(CONTENT).oid).read_bytes() == CONTENT


def test_a_pointer_created_at_a_tracked_path_is_wrapped_twice(new_repo: NewRepo) -> None:
    """The double-pointer trap."""
    repo = new_repo(TRACKED)
    inner = upload(repo, CONTENT).text()
    assert repo.commit(action("create", "a.wav", inner)).status_code == 201
    outer = parse_pointer((repo.text("a.wav") or "").encode())
    assert outer == Pointer(hashlib.sha256(inner).hexdigest(), len(inner))


def test_a_pointer_moved_to_a_tracked_path_stays_as_it_is(new_repo: NewRepo) -> None:
    """The way around the trap: an untracked name first, in the same commit."""
    repo = new_repo(TRACKED)
    pointer = upload(repo, CONTENT)
    made = repo.commit(
        action("create", "a.wav.lfsptr", pointer.text()),
        action("move", "a.wav", previous_path="a.wav.lfsptr"),
    )
    assert made.status_code == 201
    assert repo.text("a.wav") == pointer.text().decode()


def test_an_update_is_never_converted_but_is_checked(new_repo: NewRepo) -> None:
    """`update` takes pointer text as it is, once the object is there."""
    repo = new_repo(TRACKED | {"a.wav": CONTENT})
    other = Pointer.of(b"another recording")
    refused = repo.commit(action("update", "a.wav", other.text()))
    assert (refused.status_code, refused.json()) == (400, {"message": MISSING})
    upload(repo, b"another recording")
    assert repo.commit(action("update", "a.wav", other.text())).status_code == 201
    assert repo.text("a.wav") == other.text().decode()


def test_a_pointer_without_its_object_is_refused_at_any_path(repo: Repo) -> None:
    """Objects first, pointers after."""
    before = repo.head()
    absent = Pointer.of(b"never uploaded")
    refused = repo.commit(action("create", "model.bin", absent.text()))
    assert (refused.status_code, refused.json()) == (400, {"message": MISSING})
    assert repo.head() == before


def test_the_files_api_converts_updates_too(new_repo: NewRepo) -> None:
    """POST and PUT of the files API both do what `create` does."""
    repo = new_repo(TRACKED | {"a.wav": CONTENT})
    body = {"branch": "main", "commit_message": "A take", "content": "not really audio"}
    assert repo.file("PUT", "a.wav", json=body).status_code == 200
    assert repo.text("a.wav") == Pointer.of(b"not really audio").text().decode()


def test_a_project_without_lfs_converts_nothing(new_repo: NewRepo) -> None:
    """The attribute alone means nothing."""
    repo = new_repo(TRACKED, lfs=False)
    assert repo.commit(action("create", "a.wav", CONTENT[:4])).status_code == 201
    assert repo.text("a.wav") == "RIFF"
