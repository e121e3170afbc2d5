"""A training's state in one file: whole, of this job, and nothing in it but what belongs there."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gitlab_jobs import training_state
from gitlab_jobs.training_state import About, StateRefused, find_state, pack, read_curve, unpack
from pipelines.training.checkpoint import CheckpointStore
from pipelines.training.loop import METRICS_CSV
from pipelines.training.same_run import FILE_NAME

ABOUT = About("j1", "box")


def go_on() -> None:
    """Nobody wants it to stop."""


def save(home: Path, kind: str, number: int) -> None:
    """A checkpoint as trainings write them, with files in a folder of its own as well."""

    def write(folder: Path) -> None:
        (folder / "weights.safetensors").write_bytes(f"{kind} {number} ".encode() * 50_000)
        (folder / "inner").mkdir()
        (folder / "inner/state.json").write_text("{}")

    CheckpointStore(home, kind, keep=3).save(number, write)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A training in the middle of its third epoch."""
    home = tmp_path / "training"
    for number in (1, 2, 3):
        save(home, "step", number)
    save(home, "best", 2)
    (home / METRICS_CSV).write_text("epoch,loss\n1,0.5\n2,0.25\n3,0.1")
    (home / FILE_NAME).write_text("of these recordings")
    (home / training_state.REVISION).write_text("a" * 40)
    (home / "features.f32").write_bytes(b"large, and made again")
    return home


def files(home: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file()
    }


def test_the_newest_state_and_the_best_model_travel_and_nothing_else(
    home: Path, tmp_path: Path
) -> None:
    """With the curve up to its last whole line."""
    archive, elsewhere = tmp_path / "archive", tmp_path / "box" / "training"
    assert pack(home, ABOUT, archive, go_on) == "step-00000003"
    assert unpack(archive, elsewhere, "j1") == ABOUT
    expected = {
        name: content
        for name, content in files(home).items()
        if name.startswith(("step-00000003/", "best-", FILE_NAME, training_state.REVISION))
    }
    expected[METRICS_CSV] = b"epoch,loss\n1,0.5\n2,0.25\n"
    assert files(elsewhere) == expected
    assert CheckpointStore(elsewhere, "step", keep=2).latest() is not None
    assert {FILE_NAME, METRICS_CSV} < {*training_state.NOTES}


def test_the_same_state_is_packed_to_the_same_bytes(home: Path, tmp_path: Path) -> None:
    """So that a server that has them already is sent nothing."""
    first, second = tmp_path / "first", tmp_path / "second"
    pack(home, ABOUT, first, go_on)
    pack(home, ABOUT, second, go_on)
    assert first.read_bytes() == second.read_bytes()


def test_a_damaged_newest_state_is_passed_over(home: Path, tmp_path: Path) -> None:
    """The one before it is good enough."""
    (home / "step-00000003/weights.safetensors").write_bytes(b"torn")
    assert pack(home, ABOUT, tmp_path / "archive", go_on) == "step-00000002"


def test_nothing_is_packed_without_a_whole_state(home: Path, tmp_path: Path) -> None:
    """A best model alone is nothing to go on from."""
    for path in home.glob("step-*"):
        shutil.rmtree(path)
    (home / "step-00000004.part-x").mkdir()
    assert find_state(home) is None
    assert pack(home, ABOUT, tmp_path / "archive", go_on) is None
    assert find_state(tmp_path / "nowhere") is None


def test_a_checkpoint_that_is_pruned_meanwhile_does_not_matter(home: Path, tmp_path: Path) -> None:
    """Its files were open before the first one was read."""
    pruned = iter(home.glob("*-0*"))

    def prune() -> None:
        for path in pruned:
            shutil.rmtree(path)

    archive, elsewhere = tmp_path / "archive", tmp_path / "training-2"
    assert pack(home, ABOUT, archive, prune) == "step-00000003"
    assert unpack(archive, elsewhere, "j1") == ABOUT


def test_packing_ends_when_nobody_wants_it_any_more(home: Path, tmp_path: Path) -> None:
    """What the caller raises passes through."""

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(home, ABOUT, tmp_path / "archive", stop)


def test_a_link_out_of_the_directory_is_not_followed(home: Path, tmp_path: Path) -> None:
    """The directory is written by a process that is trusted with less."""
    secret = tmp_path / "secret"
    secret.write_text("epoch,loss\n1,0.5\n2,0.25\n")
    (home / METRICS_CSV).unlink()
    (home / METRICS_CSV).symlink_to(secret)
    assert read_curve(home) is None


def test_a_state_of_another_job_is_refused(home: Path, tmp_path: Path) -> None:
    """And what was there before stays."""
    archive, elsewhere = tmp_path / "archive", tmp_path / "mine"
    pack(home, ABOUT, archive, go_on)
    save(elsewhere, "best", 9)
    before = files(elsewhere)
    with pytest.raises(StateRefused, match="belongs to job j1"):
        unpack(archive, elsewhere, "j2")
    assert files(elsewhere) == before


def _flip(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)


def _cut(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-200_000])


def _replace(archive: Path) -> None:
    archive.write_bytes(b"a model of somebody")


def _climb(archive: Path) -> None:
    _add(archive, tarfile.TarInfo("../step-00000009/weights"))


def _link(archive: Path) -> None:
    member = tarfile.TarInfo("step-00000009/weights")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    _add(archive, member)


def _stray(archive: Path) -> None:
    _add(archive, tarfile.TarInfo("sitecustomize.py"))


def _add(archive: Path, member: tarfile.TarInfo) -> None:
    with tarfile.open(archive, "a") as more:
        more.addfile(member, io.BytesIO())


@pytest.mark.parametrize("spoil", [_flip, _cut, _replace, _climb, _link, _stray])
def test_a_spoiled_archive_is_refused_and_leaves_nothing(
    home: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """Not even next to the directory."""
    archive, elsewhere = tmp_path / "archive", tmp_path / "box" / "training"
    pack(home, ABOUT, archive, go_on)
    spoil(archive)
    with pytest.raises(StateRefused):
        unpack(archive, elsewhere, "j1")
    assert list(elsewhere.parent.iterdir()) == []
