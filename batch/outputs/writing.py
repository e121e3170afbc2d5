"""The last step of a file: vocabulary applied, outputs written where the input's tree says.

Runs in the conductors' threads; pure Python and small beside a transcription.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath

from batch.flow import Heard, Outcome, Warned
from batch.outputs.after import AfterWriting, attempt_all
from batch.recordings.source import Asset
from batch.settings import BatchSettings
from pipelines.asr.diarize.turns import Turn
from pipelines.asr.whisper.corrections import Corrector
from pipelines.asr.whisper.outputs import (
    ADDED_FORMATS,
    FORMATS,
    Result,
    added_formats,
    output_paths,
    read_result,
    write_outputs,
)
from pipelines.asr.whisper.transcript import Transcript
from pipelines.asr.whisper.vocabulary import Vocabulary


class Writer:
    """Knows where outputs go and what is applied before they are written."""

    def __init__(self, settings: BatchSettings) -> None:
        """Read the vocabulary.

        Raises:
            BadVocabulary: one of its files is damaged.
        """
        self.after: Sequence[AfterWriting] = ()
        self._root = settings.output_dir
        self._formats: Sequence[str] = settings.format_names
        self._no_summary = "" if settings.summary else None
        vocabulary = Vocabulary.load(settings.vocabulary, settings.replacements)
        self._corrector = Corrector(vocabulary, removes_fillers=settings.remove_fillers)

    def write(self, asset: Asset, heard: Heard) -> Outcome:
        """Correct a transcript, write all outputs, and do what is done with them afterwards."""
        transcript = Transcript.parse(json.loads(heard.transcript.read_bytes()))
        corrected = self._corrector.correct(transcript)
        told = tuple(asdict(warned) for warned in heard.warnings)
        turns = None if heard.turns is None else _turns(heard.turns)
        summary = self._no_summary if heard.summary is None else heard.summary
        result = Result(corrected, asset.name, heard.engine, turns, summary, told)
        formats = (*self._formats, *added_formats(result))
        paths = write_outputs(result, self._base(asset), formats)
        warnings = (*heard.warnings, *attempt_all(self.after, asset, result, paths))
        return self._outcome(asset, result, paths, warnings)

    def copy(self, asset: Asset, original: str) -> Outcome:
        """Give a recording what a finished one of the same bytes has."""
        source, base = Asset(original, ""), self._base(asset)
        result = replace(read_result(self._json(source)), source=asset.name)
        paths = write_outputs(result, base, (*self._formats, *added_formats(result)))
        for path, twin in zip(self._beside(source), self._beside(asset), strict=True):
            if _is_there(path):
                shutil.copyfile(path, twin)
        rest = [one for one in self.after if not one.endings]
        return self._outcome(asset, result, paths, attempt_all(rest, asset, result, paths))

    def rebuild(self, asset: Asset) -> tuple[Warned, ...]:
        """Write the outputs that are missing from the JSON that is not; what could not be done again is told."""
        result, base = read_result(self._json(asset)), self._base(asset)
        formats = (*self._formats, *added_formats(result))
        paths = output_paths(base, formats)
        missing = [name for name, path in zip(formats, paths, strict=True) if not _is_there(path)]
        write_outputs(result, base, missing)
        undone = [one for one in self.after if not all(map(_is_there, _ended(base, one.endings)))]
        return attempt_all(undone, asset, result, paths)

    def leave(self) -> None:
        """Wait no longer for what is done after writing: the run has to end at once."""
        for one in self.after:
            one.leave()

    def outputs(self, asset: Asset) -> list[Path]:
        """The files that there are of a recording, the JSON first."""
        paths = output_paths(self._base(asset), (*self._formats, *ADDED_FORMATS))
        return [path for path in (*paths, *self._beside(asset)) if _is_there(path)]

    def are_whole(self, asset: Asset, written: Iterable[str] = ()) -> bool:
        """Whether every output exists and is not empty.

        Args:
            asset: the recording.
            written: names of the files that it became, as far as that is known.
        """
        endings = tuple(FORMATS[name][0] for name in ADDED_FORMATS)
        added = (self._root / name for name in written if name.endswith(endings))
        wanted = output_paths(self._base(asset), self._formats)
        return all(map(_is_there, (*wanted, *self._beside(asset), *added)))

    def can_rebuild(self, asset: Asset) -> bool:
        """Whether the JSON exists and is not empty."""
        return _is_there(self._json(asset))

    def _outcome(
        self, asset: Asset, result: Result, paths: list[Path], warnings: tuple[Warned, ...]
    ) -> Outcome:
        written = (*paths, *filter(_is_there, self._beside(asset)))
        names = tuple(path.relative_to(self._root).as_posix() for path in written)
        flags = result.corrected.transcript.flags
        return Outcome(asset, outputs=names, flags=flags, warnings=warnings)

    def _beside(self, asset: Asset) -> list[Path]:
        """What is left beside the outputs by whatever is done after writing."""
        base = self._base(asset)
        return [path for one in self.after for path in _ended(base, one.endings)]

    def _json(self, asset: Asset) -> Path:
        return output_paths(self._base(asset), ["json"])[0]

    def _base(self, asset: Asset) -> Path:
        """Mirrors the input; keeps the ending, so that `a.mp3` and `a.wav` do not meet."""
        parts = [part for part in PurePosixPath(asset.name).parts if part not in ("/", "..", ".")]
        return self._root.joinpath(*parts)


def _ended(base: Path, endings: Iterable[str]) -> list[Path]:
    return [base.with_name(f"{base.name}{ending}") for ending in endings]


def _turns(path: Path) -> tuple[Turn, ...]:
    return tuple(Turn(**turn) for turn in json.loads(path.read_bytes()))


def _is_there(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
