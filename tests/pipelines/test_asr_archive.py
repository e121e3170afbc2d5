"""Model files from a repository: ours, those of older workers, and hostile ones."""

from __future__ import annotations

import io
import pickle
import tarfile

import pytest

from pipelines.asr.w2v2bert.archive import FILE_NAME, MAX_MEMBERS, pack, unpack
from pipelines.errors import BadCheckpoint

FILES = {
    "config.json": b'{"model_type": "wav2vec2-bert"}',
    "vocab.json": b'{"[PAD]": 0}',
    "model.safetensors": b"\x02\x00\x00\x00\x00\x00\x00\x00{}",
}


def _write(path, members, mode="w"):
    """A tar of (name or TarInfo, content) pairs."""
    with tarfile.open(path, mode) as tar:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            if info.isreg():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


@pytest.fixture
def model(tmp_path):
    """A directory with the required files."""
    directory = tmp_path / "model"
    directory.mkdir()
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    return directory


def test_what_is_packed_comes_out(model, tmp_path):
    """Byte by byte."""
    (model / "training.json").write_text("{}")
    pack(model, tmp_path / FILE_NAME)
    unpack(tmp_path / FILE_NAME, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        path.name: path.read_bytes() for path in model.iterdir()
    }


def test_only_weights_and_settings_are_packed(model, tmp_path):
    """Nothing that is code, and nobody's name or clock."""
    (model / "optimizer.pt").write_bytes(b"x")
    (model / "notes.py").write_text("import os")
    pack(model, tmp_path / FILE_NAME)
    with tarfile.open(tmp_path / FILE_NAME) as tar:
        assert set(tar.getnames()) == set(FILES)
        assert {(member.uname, member.mtime) for member in tar} == {("", 0)}


def test_the_file_name_is_one_that_projects_do_not_ignore():
    """The standard ignore list drops archives."""
    assert not FILE_NAME.endswith((".tar", ".gz", ".zip", ".bz2", ".xz", ".7z", ".rar"))


@pytest.mark.parametrize("prefix", ["", "asr_model/", "./", "./out/checkpoint/"])
def test_older_compressed_archives_are_read(tmp_path, prefix):
    """Whatever folder they were packed from; pickles in them stay packed."""
    members = [(prefix + name, content) for name, content in FILES.items()]
    members += [
        (prefix + "training_args.bin", pickle.dumps({"x": 1})),
        (prefix + "tokenizer_config.json", b"{}"),
    ]
    path = _write(tmp_path / "asr_model.pth.tar", members, "w:gz")
    unpack(path, tmp_path / "out")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {*FILES, "tokenizer_config.json"}


def test_pickled_weights_alone_are_no_model(tmp_path):
    """They would have to be unpickled."""
    members = [(name, content) for name, content in FILES.items() if "safetensors" not in name]
    path = _write(tmp_path / "m.pt", [*members, ("pytorch_model.bin", b"\x80\x02.")])
    with pytest.raises(BadCheckpoint, match="safetensors"):
        unpack(path, tmp_path / "out")


HOSTILE = {
    "absolute path": "/tmp/escape.json",
    "parent path": "../escape.json",
    "hidden parent path": "a/../../escape.json",
    "backslashes": "..\\escape.json",
    "symbolic link": _special("config.json", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": _special("config.json", tarfile.LNKTYPE, "../../secret"),
    "device": _special("config.json", tarfile.CHRTYPE),
    "pipe": _special("config.json", tarfile.FIFOTYPE),
    "directory outside": _special("../x", tarfile.DIRTYPE),
}


@pytest.mark.parametrize("member", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_entries_are_refused(tmp_path, member):
    """Paths that leave, links, devices: nothing is written outside."""
    path = _write(tmp_path / "m.pt", [(member, b"{}"), *FILES.items()])
    with pytest.raises(BadCheckpoint):
        unpack(path, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("escape.json"))
    assert not any(file.is_symlink() for file in tmp_path.rglob("*"))


def test_a_bomb_is_stopped_at_the_limit(tmp_path):
    """Sizes are added up before anything is written."""
    members = [*FILES.items(), ("big.json", bytes(3 << 20))]
    path = _write(tmp_path / "m.pt", members, "w:gz")
    assert path.stat().st_size < 100_000
    with pytest.raises(BadCheckpoint, match="more than 1 MiB"):
        unpack(path, tmp_path / "out", max_bytes=1 << 20)


def test_too_many_entries_are_refused(tmp_path):
    """A recogniser has a dozen files."""
    members = [(f"{number}.json", b"{}") for number in range(MAX_MEMBERS + 1)]
    with pytest.raises(BadCheckpoint, match="entries"):
        unpack(_write(tmp_path / "m.pt", members), tmp_path / "out")


def test_two_files_of_one_name_are_refused(tmp_path):
    """Which one would count?"""
    members = [*FILES.items(), ("inner/config.json", b"{}")]
    with pytest.raises(BadCheckpoint, match="one name"):
        unpack(_write(tmp_path / "m.pt", members), tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(2048), pickle.dumps([1, 2])])
def test_other_files_are_no_model(tmp_path, content):
    """Refused as such."""
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(BadCheckpoint):
        unpack(tmp_path / "m.pt", tmp_path / "out")


def test_a_truncated_file_is_refused(model, tmp_path):
    """A half file is no model."""
    (model / "model.safetensors").write_bytes(bytes(50_000))
    pack(model, tmp_path / "m.pt")
    content = (tmp_path / "m.pt").read_bytes()
    (tmp_path / "m.pt").write_bytes(content[:30_000])
    with pytest.raises(BadCheckpoint):
        unpack(tmp_path / "m.pt", tmp_path / "out")
