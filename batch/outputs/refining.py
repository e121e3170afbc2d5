"""Has the written text proofread, and carries what was changed into the subtitles.

    talk.mp3_formatted.txt ─► talk.mp3_formatted_refined.txt, talk.mp3_formatted_refined_changes.json
    talk.mp3.srt           ─► talk.mp3_refined.srt, talk.mp3_refined_changes.json

Runs after writing, in the conductors' threads: the work is somebody else's. Pauses that an endpoint asks for are
kept by the protocol's own client. An endpoint that says no is not asked again in this run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from batch.errors import CannotRun, InputMissing
from batch.flags.stages import endpoint_of
from batch.outputs.after import AfterWriting
from batch.recordings.source import Asset
from batch.settings import BatchSettings
from pipelines.asr.whisper.outputs import FORMATS, Result
from pipelines.errors import PipelineError
from pipelines.llm.corrections import correct_subtitles
from pipelines.llm.endpoint import Endpoint, open_model
from pipelines.llm.port import LanguageModel, LanguageModelError, ModelRefused
from pipelines.llm.refine import Options, refine
from pipelines.llm.refined_files import write_refinement
from pipelines.whole_file import write_whole

NAME = "refine"
ENDINGS = ("_refined.srt", "_refined_changes.json")


class IncompleteRefinement(PipelineError):
    """Some of the text is as it was, because the model gave no usable answer for it."""

    code = "REFINE_INCOMPLETE"


class Refiner:
    """One endpoint, used for all files; safe to call from several threads."""

    def __init__(self, model: LanguageModel) -> None:
        """Take a model; nothing is asked yet."""
        self._model = model
        # Files are proofread side by side; a run that ends at once must find no thread that it would wait for.
        self._options = Options(parallel=1)
        self._lock = threading.Lock()
        self._refusal = ""

    def __call__(self, _asset: Asset, result: Result, paths: Sequence[Path]) -> None:
        """Proofread one file's outputs.

        Raises:
            ModelRefused: the endpoint says no, now or earlier in this run.
            LanguageModelError: no answer could be used; nothing is written, the next run tries again.
            IncompleteRefinement: it answered in part; the rest of the text is as it was.
            OSError: a file cannot be written.
        """
        with self._lock:
            if self._refusal:
                raise ModelRefused(self._refusal)
        text_path, srt_path = (_written(paths, name) for name in ("formatted", "srt"))
        if not result.corrected.transcript.text:
            _write_unchanged(srt_path)
            return
        try:
            refined = refine(text_path.read_text("utf-8"), self._model, self._options)
        except ModelRefused as error:
            with self._lock:
                self._refusal = str(error)
            raise
        if refined.passages and len(refined.failures) == refined.passages and not refined.refusals:
            raise LanguageModelError(f"nothing was proofread: {refined.failures[0]}")
        files = write_refinement(refined, text_path)
        correct_subtitles(files.changes_path, srt_path)
        if refined.failures:
            raise IncompleteRefinement("; ".join(refined.failures))


@contextmanager
def refining(settings: BatchSettings) -> Iterator[AfterWriting]:
    """Proofreading as the command line wants it.

    Raises:
        InputMissing: the file with the key cannot be read.
        CannotRun: a library or a key is missing.
    """
    try:
        model = open_model(_with_key(endpoint_of(settings), settings.refine_key_file))
    except PipelineError as error:
        raise CannotRun(f"--refine {settings.refine}: {error}", "see --help") from error
    try:
        yield AfterWriting(NAME, Refiner(model), settings.refine_parallel, ENDINGS)
    finally:
        model.close()


def _with_key(endpoint: Endpoint, path: Path | None) -> Endpoint:
    if path is None:
        return endpoint
    try:
        return replace(endpoint, key=path.read_text("utf-8").strip())
    except OSError as error:
        raise InputMissing(f"cannot read the key in {path}: {error.strerror}") from error


def _written(paths: Sequence[Path], name: str) -> Path:
    ending = FORMATS[name][0]
    return next(path for path in paths if path.name.endswith(ending))


def _write_unchanged(srt_path: Path) -> None:
    """Where nobody speaks there is nothing to proofread, and that is known from now on."""
    base = srt_path.name.removesuffix(FORMATS["srt"][0])
    subtitles, changes = (srt_path.with_name(f"{base}{ending}") for ending in ENDINGS)
    write_whole(subtitles, srt_path.read_text("utf-8"))
    write_whole(
        changes, '{"summary": {"changes": 0, "not_found": 0}, "changes": [], "not_found": []}\n'
    )
