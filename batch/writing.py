"""The last step of a file: vocabulary applied, outputs written where the input's tree says.

Runs in the conductors' threads; pure Python and small beside a transcription.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from batch.after import AfterWriting, attempt_all
from batch.flow import Heard, Outcome
from batch.settings import BatchSettings
from batch.source import Asset
from pipelines.asr.whisper.corrections import Corrector
from pipelines.asr.whisper.outputs import Result, output_paths, read_result, write_outputs
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
        vocabulary = Vocabulary.load(settings.vocabulary, settings.replacements)
        self._corrector = Corrector(vocabulary, removes_fillers=settings.remove_fillers)

    def write(self, asset: Asset, heard: Heard) -> Outcome:
        """Correct a transcript, write all outputs, and do what is done with them afterwards."""
        transcript = Transcript.parse(json.loads(heard.transcript.read_bytes()))
        result = Result(self._corrector.correct(transcript), asset.name, heard.engine)
        paths = write_outputs(result, self._base(asset), self._formats)
        names = tuple(path.relative_to(self._root).as_posix() for path in paths)
        warnings = (*heard.warnings, *attempt_all(self.after, asset, result, paths))
        return Outcome(asset, outputs=names, flags=transcript.flags, warnings=warnings)

    def rebuild(self, asset: Asset) -> None:
        """Write the outputs that are missing from the JSON that is not."""
        result = read_result(self._json(asset))
        missing = [
            name
            for name in self._formats
            if not _is_there(output_paths(self._base(asset), [name])[0])
        ]
        write_outputs(result, self._base(asset), missing)

    def are_whole(self, asset: Asset) -> bool:
        """Whether every output exists and is not empty."""
        return all(map(_is_there, output_paths(self._base(asset), self._formats)))

    def can_rebuild(self, asset: Asset) -> bool:
        """Whether the JSON exists and is not empty."""
        return _is_there(self._json(asset))

    def _json(self, asset: Asset) -> Path:
        return output_paths(self._base(asset), ["json"])[0]

    def _base(self, asset: Asset) -> Path:
        """Mirrors the input; keeps the ending, so that `a.mp3` and `a.wav` do not meet."""
        parts = [part for part in PurePosixPath(asset.name).parts if part not in ("/", "..", ".")]
        return self._root.joinpath(*parts)


def _is_there(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
