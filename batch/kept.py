"""Finished sections of long recordings, on disk beside the state until the whole recording is done.

    .batch_state.sections/<recording>/<start>-<end>.json      one transcript each, in samples of the decoded sound

A run that was killed in the middle of a recording goes on behind its last section. A section counts only for the
same bytes of the recording and the same options: their hash stands in it. Folders of recordings that are not to be
done are swept away when a run starts, so what lies here is at most what is under way.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from batch.recordings.source import Asset
from pipelines.asr.whisper.transcript import Transcript
from pipelines.whole_file import write_whole


class KeptSections:
    """The sections of one recording, as the child that listens to it sees them."""

    def __init__(self, folder: Path | None, identity: str) -> None:
        """Say where they are, and of what; without a folder nothing is kept."""
        self._folder = folder
        self._identity = identity

    @classmethod
    def parse(cls, fields: Mapping[str, Any] | None) -> Self:
        """Read what `SectionStore.told` made."""
        if fields is None:
            return cls(None, "")
        return cls(Path(fields["folder"]), fields["identity"])

    def once(self, start: int, end: int, listen: Callable[[], Transcript]) -> Transcript:
        """The transcript of a stretch of samples: from an earlier life, or heard now and kept."""
        if self._folder is None:
            return listen()
        path = self._folder / f"{start}-{end}.json"
        transcript = self._read(path)
        if transcript is None:
            transcript = listen()
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            content = {"identity": self._identity, "transcript": transcript.to_json()}
            write_whole(path, json.dumps(content))
        return transcript

    def _read(self, path: Path) -> Transcript | None:
        """What was kept; None if there is nothing, or if it is of other bytes or options, or damaged."""
        try:
            content = json.loads(path.read_bytes())
            is_mine = content["identity"] == self._identity
            return Transcript.parse(content["transcript"]) if is_mine else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


class SectionStore:
    """The sections of a whole batch, as the loop sees them."""

    def __init__(self, state_path: Path, options_hash: str) -> None:
        """Name the place; nothing is written before there is something to keep."""
        self._root = state_path.with_name(f".{state_path.stem}.sections")
        self._options_hash = options_hash

    def told(self, asset: Asset) -> dict[str, str] | None:
        """For the child; nothing is kept of a recording whose bytes are not known."""
        if not asset.sha256:
            return None
        return {
            "folder": str(self._folder(asset.name)),
            "identity": f"{asset.sha256} {self._options_hash}",
        }

    def has(self, name: str) -> bool:
        """Whether an earlier life left something of this recording."""
        return self._folder(name).is_dir()

    def forget(self, name: str) -> None:
        """Remove what was kept of a recording that is done."""
        shutil.rmtree(self._folder(name), ignore_errors=True)
        with suppress(OSError):  # it is not there, or holds those of others
            self._root.rmdir()

    def sweep(self, names: Iterable[str]) -> None:
        """Remove everything but what belongs to these recordings."""
        wanted = {self._folder(name).name for name in names}
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)
        if not wanted:
            shutil.rmtree(self._root, ignore_errors=True)

    def _folder(self, name: str) -> Path:
        """A recording's name may hold anything, also slashes: its hash is a good name of a folder."""
        return self._root / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
