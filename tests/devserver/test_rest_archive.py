"""Archives: what is in them, under which names, with or without large objects."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.rest_api import FILES, NewRepo, Repo

ARCHIVE = "/repository/archive"


def unpacked(content: bytes) -> dict[str, bytes]:
    """Return the files of a tar by their path below the top folder."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            if member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                found[member.name.partition("/")[2]] = file.read()
    return found


def as_bytes(name: str) -> bytes:
    """Return the content of a file as it was imported."""
    content = FILES[name]
    return content if isinstance(content, bytes) else content.encode()


@pytest.mark.parametrize("ending", ["", ".tar.gz", ".tar", ".tar.bz2"])
def test_an_archive_holds_every_file_under_one_folder(repo: Repo, ending: str) -> None:
    """With large objects in place of their pointers, as is the default."""
    answer = repo.get(ARCHIVE + ending)
    assert answer.status_code == 200
    assert unpacked(answer.content) == {name: as_bytes(name) for name in FILES}
    top = f"{repo.project.name}-main-{repo.head()}"
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} == {top}
        assert archive.pax_headers["comment"] == repo.head()
    disposition = answer.headers["Content-Disposition"]
    assert disposition == f'attachment; filename="{top}{ending or ".tar.gz"}"'


def test_a_zip_is_a_zip(repo: Repo) -> None:
    """Modes and times survive."""
    answer = repo.get(f"{ARCHIVE}.zip")
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = {name.partition("/")[2] for name in archive.namelist() if not name.endswith("/")}
        assert names == set(FILES)


def test_large_objects_can_be_left_out(repo: Repo) -> None:
    """Then the pointers are in the archive."""
    answer = repo.get(ARCHIVE, params={"include_lfs_blobs": "false"})
    assert unpacked(answer.content)["audio/verse.wav"].startswith(b"version https://git-lfs")


def test_an_archive_can_be_narrowed_to_a_folder(repo: Repo) -> None:
    """The folder keeps its place below the top, whose name tells of it."""
    answer = repo.get(ARCHIVE, params={"path": "files/target"})
    assert set(unpacked(answer.content)) == {"files/target/LUK.codex"}
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert archive.getnames()[0].endswith("-files-target")


def test_an_archive_of_an_older_commit(repo: Repo) -> None:
    """By id or by branch; a slash in the name becomes a dash."""
    old = repo.head()
    action = {"action": "create", "file_path": "later", "content": ""}
    repo.commit(action, branch="wip/later", start_branch="main")
    assert "later" not in unpacked(repo.get(ARCHIVE, params={"sha": old}).content)
    answer = repo.get(ARCHIVE, params={"sha": "wip/later"})
    assert "later" in unpacked(answer.content)
    assert f"{repo.project.name}-wip-later-" in answer.headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("ending", "params"), [("", {"sha": "nope"}), ("", {"path": "nope"}), (".rar", {})]
)
def test_every_failure_is_a_missing_file(repo: Repo, ending: str, params: dict[str, str]) -> None:
    """Unknown ref, path or format."""
    answer = repo.get(ARCHIVE + ending, params=params)
    assert (answer.status_code, answer.json()) == (404, {"message": "404 File Not Found"})


def test_tar_itself_can_read_it(repo: Repo, tmp_path: Path) -> None:
    """Streamed into the real program, executables stay executable."""
    action = {
        "action": "create",
        "file_path": "bin/run.sh",
        "content": "#!",
        "execute_filemode": True,
    }
    repo.commit(action)
    content = repo.get(ARCHIVE).content
    command = ["tar", "-xz", "--strip-components=1", "-C", str(tmp_path)]
    subprocess.run(command, input=content, check=True)
    assert (tmp_path / "audio/verse.wav").read_bytes() == FILES["audio/verse.wav"]
    assert (tmp_path / "bin/run.sh").stat().st_mode & 0o100


def test_an_archive_larger_than_a_chunk_streams(new_repo: NewRepo) -> None:
    """Several chunks of one large object come out whole."""
    sound = bytes(range(256)) * 4096
    repo = new_repo({".gitattributes": "*.wav filter=lfs\n", "long.wav": sound})
    with repo.get(f"{ARCHIVE}.tar", stream=True) as answer:
        assert "Content-Length" not in answer.headers
        assert unpacked(answer.content)["long.wav"] == sound
