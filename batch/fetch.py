"""Brings a remote recording onto this machine's disk: streamed, bounded, tried again after passing faults."""

from __future__ import annotations

from pathlib import Path

from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from batch.source import Asset, open_remote

TRIES = 4
LONGEST_WAIT_S = 30.0
MOST_BYTES = 20 << 30
_BLOCK = 1 << 20
_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError)


class FetchFailed(Exception):
    """A recording that could not be brought here."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the reason code apart."""
        super().__init__(message)
        self.code = code


def local_path(asset: Asset, folder: Path, number: int) -> Path:
    """The recording on this machine; a remote one is fetched into the folder.

    Raises:
        FetchFailed: it is not there, or the other side does not answer.
    """
    if not asset.is_remote:
        return Path(asset.location)
    target = folder / f"{number}.recording"
    retrying = Retrying(
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(max=LONGEST_WAIT_S),
        retry=retry_if_exception_type(OSError) & retry_if_not_exception_type(_PERMANENT),
        reraise=True,
    )
    try:
        retrying(_copy, asset, target)
    except _PERMANENT as error:
        raise FetchFailed("INPUT_MISSING", f"{asset.location}: {error}") from error
    except (OSError, ValueError, ImportError) as error:
        raise FetchFailed("NETWORK_ERROR", f"{asset.location}: {error}") from error
    return target


def _copy(asset: Asset, target: Path) -> None:
    left = MOST_BYTES
    with open_remote(asset.location) as source, target.open("wb") as file:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise FetchFailed("TOO_LARGE", f"{asset.location} has more than {MOST_BYTES} bytes")
            file.write(block)
    if asset.size is not None and target.stat().st_size != asset.size:
        raise OSError(f"{target.stat().st_size} of {asset.size} bytes arrived")
