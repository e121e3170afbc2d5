"""Brings a remote recording onto this machine's disk: streamed, bounded, tried again after passing faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import requests
from tenacity import (
    Retrying,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from batch.source import Asset, open_remote

TRIES = 4
LONGEST_WAIT_S = 30.0
MOST_BYTES = 20 << 30
TIMEOUTS_S = (10.0, 120.0)
"""To connect, and between two pieces of an answer."""
_BLOCK = 1 << 20
_GONE = frozenset({401, 403, 404, 410})
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
        retry=retry_if_not_exception_type((*_PERMANENT, FetchFailed, ImportError)),
        reraise=True,
    )
    try:
        retrying(_copy, asset, target)
    except FetchFailed:
        raise
    except _PERMANENT as error:
        raise FetchFailed("INPUT_MISSING", f"{asset.location}: {error}") from error
    except Exception as error:  # the boundary to libraries with errors of their own
        raise FetchFailed("NETWORK_ERROR", f"{asset.location}: {error}") from error
    return target


def _copy(asset: Asset, target: Path) -> None:
    left = MOST_BYTES
    with target.open("wb") as file:
        for block in _blocks(asset.location):
            left -= len(block)
            if left < 0:
                raise FetchFailed("TOO_LARGE", f"{asset.location} has more than {MOST_BYTES} bytes")
            file.write(block)
    if asset.size is not None and target.stat().st_size != asset.size:
        raise OSError(f"{target.stat().st_size} of {asset.size} bytes arrived")


def _blocks(location: str) -> Iterator[bytes]:
    if not location.startswith(("http://", "https://")):
        with open_remote(location) as source:
            yield from iter(lambda: source.read(_BLOCK), b"")
        return
    # fsspec takes every refusal of a web server, a passing one too, for a file that is not there.
    with requests.get(location, stream=True, timeout=TIMEOUTS_S) as reply:
        if reply.status_code in _GONE:
            raise FileNotFoundError(f"{reply.status_code} {reply.reason}")
        reply.raise_for_status()
        yield from reply.iter_content(_BLOCK)
