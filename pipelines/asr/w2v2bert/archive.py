"""A recogniser's directory as one file for a repository, and back, trusting nothing in it.

The file is an uncompressed tar of safetensors and JSON (`docs/decisions/0003-asr-checkpoint-file.md`), and of the
text corrector's trees where it has some (`.tm`).
Gzip-compressed tars of older workers (`asr_model.pth.tar`) are read too. Pickled files in them are
never unpacked, let alone loaded.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from pipelines.errors import BadCheckpoint

FINAL_NAME = "final_model.pt"
"""What came out of the last epoch, where another one was better on held-out verses."""
FILE_NAME = "best_model.pt"
"""Not an archive's suffix: projects ignore `*.tar` and `*.gz`, and such a file would never be synced."""

MAX_BYTES = 16 << 30
MAX_MEMBERS = 256
WANTED_SUFFIXES = frozenset({".json", ".safetensors", ".txt", ".tm"})
REQUIRED = ("config.json", "vocab.json", "model.safetensors")


def pack(directory: Path, archive: Path) -> None:
    """Write an archive whole or not at all; equal directories give equal bytes."""
    temporary = archive.with_name(f".{archive.name}.part")
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(directory.iterdir()):
                if path.suffix in WANTED_SUFFIXES and path.name != "manifest.json":
                    tar.add(path, arcname=path.name, recursive=False, filter=_anonymous)
        temporary.replace(archive)
    finally:
        temporary.unlink(missing_ok=True)


def unpack(archive: Path, directory: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Unpack a recogniser into an empty directory, its files side by side.

    Raises:
        BadCheckpoint: not such an archive, or one with links, devices, paths that leave the
            directory, doubled names or more bytes than allowed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, _mode(archive)) as tar:
            for member, name in _checked(tar, max_bytes):
                source = tar.extractfile(member)
                if source is None:
                    raise BadCheckpoint(f'"{member.name}" in the model file cannot be read.')
                with source, (directory / name).open("xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except FileExistsError as error:
        raise BadCheckpoint("The model file holds two files of one name.") from error
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadCheckpoint(f"The model file is damaged or no model: {error}") from error
    missing = [name for name in REQUIRED if not (directory / name).is_file()]
    if missing:
        raise BadCheckpoint(
            f"The file holds no recogniser in safetensors form: {', '.join(missing)} missing."
        )


def _mode(archive: Path) -> Literal["r:", "r:gz"]:
    """By content; older workers compressed."""
    with archive.open("rb") as file:
        return "r:gz" if file.read(2) == b"\x1f\x8b" else "r:"


def _checked(tar: tarfile.TarFile, max_bytes: int) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Members to unpack, with the plain name of each; checked one by one, before any is written."""
    total = 0
    for count, member in enumerate(tar):
        path = PurePosixPath(member.name)
        if count >= MAX_MEMBERS:
            raise BadCheckpoint(f"The model file has more than {MAX_MEMBERS} entries.")
        if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
            raise BadCheckpoint(f'The model file has an unsafe path: "{member.name[:100]}".')
        if member.isdir():
            continue
        if not member.isreg():
            raise BadCheckpoint(f'"{member.name[:100]}" in the model file is no plain file.')
        total += member.size
        if total > max_bytes:
            raise BadCheckpoint(f"The model file unpacks to more than {max_bytes >> 20} MiB.")
        if path.suffix in WANTED_SUFFIXES and not path.name.startswith("."):
            yield member, path.name


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who packed it and when."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o644
    return member
