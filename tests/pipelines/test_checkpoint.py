"""Checkpoint directories: whole or absent, newest intact first."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest

from pipelines.errors import PipelineError
from pipelines.training.checkpoint import CheckpointStore, is_intact


def _content(text):
    def write(directory):
        (directory / "weights").write_text(text)
        (directory / "inner").mkdir()
        (directory / "inner" / "state.json").write_text("{}")

    return write


@pytest.fixture
def store(tmp_path):
    """A store in an empty directory that keeps two."""
    return CheckpointStore(tmp_path, "step", keep=2)


def _text(path):
    return (path / "weights").read_text()


def test_the_newest_by_number_is_found(store):
    """1000 comes after 500, which strings would deny."""
    for step in (9, 10, 500, 1000):
        store.save(step, _content(str(step)))
    assert _text(store.latest()) == "1000"


def test_only_the_newest_are_kept(store, tmp_path):
    """Older ones go once a newer one is safe."""
    for step in (1, 2, 3):
        store.save(step, _content(str(step)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_a_save_that_fails_leaves_nothing(store, tmp_path):
    """Neither a half directory nor damage to the last one."""
    store.save(1, _content("good"))

    def fail(directory):
        (directory / "weights").write_text("half")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        store.save(2, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def _flip_a_byte(path):
    weights = path / "weights"
    content = bytearray(weights.read_bytes())
    content[0] ^= 1
    weights.write_bytes(content)


def _truncate(path):
    (path / "weights").write_bytes(b"")


def _lose_a_file(path):
    (path / "inner" / "state.json").unlink()


def _lose_the_manifest(path):
    (path / "manifest.json").unlink()


def _break_the_manifest(path):
    (path / "manifest.json").write_text('{"files": 3}')


def _gain_a_file(path):
    (path / "extra.pkl").write_bytes(b"x")


@pytest.mark.parametrize(
    "damage",
    [
        _flip_a_byte,
        _truncate,
        _lose_a_file,
        _lose_the_manifest,
        _break_the_manifest,
        _gain_a_file,
        shutil.rmtree,
    ],
)
def test_a_damaged_newest_falls_back_to_the_one_before(store, damage):
    """Whatever the damage."""
    store.save(1, _content("old"))
    damage(store.save(2, _content("new")))
    assert _text(store.latest()) == "old"


def test_damaged_ones_are_deleted_only_after_a_good_one_exists(store, tmp_path):
    """Loading deletes nothing."""
    for step in (1, 2):
        _truncate(store.save(step, _content("x")))
    assert store.latest() is None
    assert len(list(tmp_path.iterdir())) == 2
    store.save(3, _content("good"))
    assert _text(store.latest()) == "good"


def test_saving_a_step_again_replaces_it(store):
    """A resumed run may reach the same step again."""
    store.save(1, _content("first"))
    store.save(1, _content("second"))
    assert _text(store.latest()) == "second"
    assert is_intact(store.latest())


def test_kinds_do_not_mix(store, tmp_path):
    """States and best models share a directory."""
    best = CheckpointStore(tmp_path, "best", keep=1)
    store.save(1, _content("state"))
    best.save(7, _content("model"))
    assert (_text(store.latest()), _text(best.latest())) == ("state", "model")


def test_a_full_disk_is_noticed_before_writing(store, monkeypatch):
    """The last good one stays."""
    store.save(1, _content("x" * 1000))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 1500))
    with pytest.raises(PipelineError, match="disk is full"):
        store.save(2, _content("y"))
    assert _text(store.latest()).startswith("x")
