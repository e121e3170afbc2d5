"""Brings recordings to where they can be decoded: remote ones are streamed, bounded, tried again after passing faults.

What is here is looked at before anything opens it: a pipe or a device would never end.
"""

from __future__ import annotations

import hashlib
import stat
import time
from dataclasses import replace
from pathlib import Path

from tenacity import (
    Retrying,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from batch.recordings.addresses import Reader, reader
from batch.recordings.source import Asset

TRIES = 4
LONGEST_WAIT_S = 30.0
MOST_BYTES = 20 << 30
LONGEST_FETCH_S = 4 * 3600.0
"""For one recording: a source that drips would otherwise be waited for without end."""
_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError)


class FetchFailed(Exception):
    """A recording that could not be brought here."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the reason code apart."""
        super().__init__(message)
        self.code = code


def brought(asset: Asset, folder: Path, number: int) -> tuple[Asset, Path]:
    """The recording on this machine, and what it is by now known to be: its hash.

    Args:
        asset: a local one stays where it is.
        folder: where a remote one is written.
        number: its name there.

    Raises:
        FetchFailed: it is not there, no file, or the other side does not answer.
    """
    path = local_path(asset, folder, number)
    return replace(asset, sha256=asset.sha256 or _read_hash(asset, path)), path


def local_path(asset: Asset, folder: Path, number: int) -> Path:
    """The same without its hash.

    Raises:
        FetchFailed: it is not there, no file, or the other side does not answer.
    """
    return _fetched(asset, folder, number) if asset.is_remote else _checked(asset)


def content_hash(path: Path) -> str:
    """SHA-256 of a file, as the state keeps it; raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(asset: Asset) -> Path:
    """A local recording that may be opened."""
    path = asset.path
    if asset.is_outside:
        raise FetchFailed(
            "LINK_OUTSIDE", "it is a link out of the input folder; --follow-links takes it"
        )
    try:
        facts = path.stat()
    except (OSError, ValueError) as error:
        raise FetchFailed("INPUT_MISSING", f"{path}: {error}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise FetchFailed("INPUT_MISSING", f"{path} is not a file")
    if facts.st_size > MOST_BYTES:
        raise FetchFailed("TOO_LARGE", f"{path} has more than {MOST_BYTES} bytes")
    return path


def _read_hash(asset: Asset, path: Path) -> str:
    try:
        return content_hash(path)
    except OSError as error:
        raise FetchFailed("INPUT_MISSING", f"{asset.location}: {error}") from error


def _fetched(asset: Asset, folder: Path, number: int) -> Path:
    target = folder / f"{number}.recording"
    retrying = Retrying(
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(max=LONGEST_WAIT_S),
        retry=retry_if_not_exception_type((*_PERMANENT, FetchFailed, ImportError)),
        reraise=True,
    )
    try:
        retrying(_copy, asset, reader(asset.location), target)
    except FetchFailed:
        raise
    except _PERMANENT as error:
        raise FetchFailed("INPUT_MISSING", f"{asset.location}: {error}") from error
    except Exception as error:  # the boundary to libraries with errors of their own
        raise FetchFailed("NETWORK_ERROR", f"{asset.location}: {error}") from error
    return target


def _copy(asset: Asset, source: Reader, target: Path) -> None:
    """Go on where the last try broke off, if the source can."""
    target.touch()
    deadline = time.monotonic() + LONGEST_FETCH_S
    with target.open("r+b") as file, source.opened(target.stat().st_size) as part:
        file.seek(part.start)
        file.truncate()
        left = MOST_BYTES - part.start
        for block in part.blocks:
            left -= len(block)
            if left < 0:
                raise FetchFailed("TOO_LARGE", f"{asset.location} has more than {MOST_BYTES} bytes")
            if time.monotonic() > deadline:
                raise FetchFailed("NETWORK_ERROR", f"{asset.location} takes too long to come")
            file.write(block)
    arrived = target.stat().st_size
    if asset.size is not None and arrived != asset.size:
        target.unlink()
        raise OSError(f"{arrived} of {asset.size} bytes arrived")
