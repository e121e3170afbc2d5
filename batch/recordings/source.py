"""Which recordings a batch is about: a folder, a list of assets, one file, or any address that fsspec opens.

    folder, URL ─► every recording below, the largest first
    asset list  ─► its audio assets, the oldest first; the list is never edited

Goes by the ending of a name only to leave other files out; whether a file is a recording is found by opening it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batch.errors import BadData, CannotRun, InputMissing
from batch.recordings.addresses import listed

logger = logging.getLogger(__name__)

ENDINGS = frozenset(
    [
        ".3g2",
        ".3gp",
        ".aac",
        ".aif",
        ".aiff",
        ".amr",
        ".ape",
        ".asf",
        ".au",
        ".avi",
        ".caf",
        ".flac",
        ".flv",
        ".m4a",
        ".m4b",
        ".m4v",
        ".mka",
        ".mkv",
        ".mov",
        ".mp2",
        ".mp3",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".oga",
        ".ogg",
        ".opus",
        ".ts",
        ".tta",
        ".w64",
        ".wav",
        ".webm",
        ".weba",
        ".wma",
        ".wmv",
        ".wv",
    ]
)
UNSORTED_FOLDER = "Resources/To Be Sorted"
"""Assets that nobody has looked at yet are left alone."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One recording: its name in the state, where it is, and what tells whether it changed."""

    name: str
    location: str
    """A path of this machine, or a URL."""
    size: int | None = None
    mtime_ns: int | None = None
    sha256: str = ""
    """Of its bytes, once somebody has read them."""
    is_outside: bool = False
    """Whether it is a link that leads out of the input folder."""
    due_at: float = 0.0
    """Not to be tried again before this time, in seconds since 1970."""

    @property
    def path(self) -> Path:
        """Where a local one is."""
        return Path(self.location)

    @property
    def is_remote(self) -> bool:
        """Whether it has to be fetched."""
        return "://" in self.location


def discover(place: str, *, follows_links: bool = False) -> list[Asset]:
    """List the recordings of a folder, a URL or a file, the largest first.

    Args:
        place: which.
        follows_links: whether links may lead out of the folder; otherwise what they name is marked.

    Raises:
        InputMissing: there is no such place.
    """
    found = list(
        _remote(place)
        if "://" in place
        else _local(Path(place).absolute(), follows_links=follows_links)
    )
    return sorted(found, key=lambda asset: (-(asset.size or 0), asset.name))


def read_assets(path: Path, url_template: str) -> list[Asset]:
    """Read a list of assets, the oldest (last) first.

    Args:
        path: JSON with `assets`, each with `id` and perhaps `url`, `asset_type`, `folder_path`.
        url_template: where an asset without an address of its own is, with `{id}` and other fields.

    Raises:
        InputMissing, BadData: it is not there, or not a list of assets.
    """
    try:
        content = json.loads(path.read_bytes())
        entries = [dict(entry) for entry in content["assets"]]
        chosen = [entry for entry in entries if _is_wanted(entry)]
        assets = [
            Asset(
                str(entry["id"]), _absolute(str(entry.get("url") or url_template.format(**entry)))
            )
            for entry in reversed(chosen)
        ]
    except OSError as error:
        raise InputMissing(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise BadData(f"{path} is no list of assets: {type(error).__name__}: {error}") from error
    homeless = [asset.name for asset in assets if not asset.location]
    if homeless:
        raise BadData(
            f"{len(homeless)} assets have no address, the first is {homeless[0]}",
            "say where they are with --asset-url, for example s3://bucket/{id}.mp3",
        )
    return assets


def _absolute(location: str) -> str:
    """What a child finds as well, which works in a folder of its own."""
    return location if "://" in location or not location else str(Path(location).absolute())


def _is_wanted(entry: dict[str, Any]) -> bool:
    return entry.get("asset_type", "Audio") == "Audio" and (
        entry.get("folder_path") != UNSORTED_FOLDER
    )


def _local(root: Path, *, follows_links: bool) -> Iterator[Asset]:
    if root.is_file():
        yield _local_asset(root, root.name)
        return
    if not root.is_dir():
        raise InputMissing(f"there is no folder or file {root}")
    inside = root.resolve()
    for folder, subfolders, names in os.walk(root):
        # Linked folders may lead round in a circle; os.walk lists but does not enter them.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in names:
            path = Path(folder, name)
            if _is_recording(name) and path.is_file():
                asset = _local_asset(path, path.relative_to(root).as_posix())
                leads_out = path.is_symlink() and not path.resolve().is_relative_to(inside)
                yield replace(asset, is_outside=leads_out and not follows_links)


def _local_asset(path: Path, name: str) -> Asset:
    facts = path.stat()
    return Asset(name, str(path), facts.st_size, facts.st_mtime_ns)


def _remote(url: str) -> Iterator[Asset]:
    try:
        found = sorted(listed(url), key=lambda one: one.name)
    except (OSError, ValueError) as error:
        raise InputMissing(f"cannot list {url}: {error}") from error
    except ImportError as error:
        raise CannotRun(f"cannot list {url}: {error}", "pip install what it names") from error
    for one in found:
        if _is_recording(one.name.rpartition("/")[2]):
            yield Asset(one.name, one.location, one.size or None, one.mtime_ns)


def _is_recording(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in ENDINGS
