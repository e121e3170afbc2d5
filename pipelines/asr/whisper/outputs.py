"""The files of a transcript: JSON, text, formatted text, SRT, WebVTT and TSV; turns of speakers, a summary.

    talk.mp3.json  talk.mp3.txt  talk.mp3_formatted.txt  talk.mp3.srt  talk.mp3.vtt  talk.mp3.tsv
    talk.mp3.rttm  talk.mp3.summary.txt

All come from one result, and the JSON holds it whole: any other form can be made from it again without the
model. A file appears complete or not at all.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

from pipelines.asr.diarize.turns import Turn, to_rttm
from pipelines.asr.whisper.corrections import Change, ChangeKind, Corrected
from pipelines.asr.whisper.segments import text_of
from pipelines.asr.whisper.transcript import Segment, Transcript
from pipelines.text.subtitles import Cue, TimedWord, cues_of, paced, to_srt, to_vtt
from pipelines.whole_file import write_whole

PARAGRAPH_PAUSE_S = 2.0
"""Silence that begins a new paragraph, like another speaker."""
PARAGRAPH_CHARACTERS = 700
"""A paragraph longer than this ends with its sentence."""


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that is known about one recording."""

    corrected: Corrected
    source: str
    """The recording, as the user names it."""
    engine: Mapping[str, str]
    turns: tuple[Turn, ...] | None = None
    """Who speaks when; None if nobody has found out."""
    summary: str | None = None
    """Empty where one was wanted and could not be made."""
    warnings: tuple[Mapping[str, str], ...] = ()
    """Optional things that were not done: `step`, `code`, `message`."""

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `to_json` made."""
        names = Transcript.__dataclass_fields__
        transcript = Transcript.parse({name: fields[name] for name in names})
        changes = tuple(
            Change(**{**change, "kind": ChangeKind(change["kind"])}) for change in fields["changes"]
        )
        corrected = Corrected(
            transcript=transcript,
            original_text=fields["original_text"],
            is_vocab_enhanced=fields["vocab_enhanced"],
            has_fillers_removed=fields["fillers_removed"],
            changes=changes,
        )
        turns = fields.get("turns")
        return cls(
            corrected,
            fields["source"],
            fields["engine"],
            None if turns is None else tuple(Turn(**turn) for turn in turns),
            fields.get("summary"),
            tuple(fields.get("warnings", ())),
        )

    def to_json(self) -> dict[str, Any]:
        """The transcript's own fields, and beside them what was corrected."""
        corrected = self.corrected
        wanted: dict[str, Any] = {"summary": self.summary, "warnings": list(self.warnings) or None}
        wanted["turns"] = None if self.turns is None else [asdict(turn) for turn in self.turns]
        return {
            "source": self.source,
            "engine": dict(self.engine),
            **corrected.transcript.to_json(),
            "original_text": corrected.original_text,
            "vocab_enhanced": corrected.is_vocab_enhanced,
            "fillers_removed": corrected.has_fillers_removed,
            "changes": [asdict(change) for change in corrected.changes],
            **{name: value for name, value in wanted.items() if value is not None},
        }


def write_outputs(result: Result, base: Path, formats: Iterable[str]) -> list[Path]:
    """Write the wanted files beside each other and return them.

    Args:
        result: what to write.
        base: path of the files without their endings.
        formats: keys of `FORMATS`.
    """
    base.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for name in formats:
        ending, render = FORMATS[name]
        path = base.with_name(f"{base.name}{ending}")
        write_whole(path, render(result))
        written.append(path)
    return written


def read_result(path: Path) -> Result:
    """Read a JSON output again."""
    return Result.parse(json.loads(path.read_text("utf-8")))


def output_paths(base: Path, formats: Iterable[str]) -> list[Path]:
    """Name the files that `write_outputs` would write."""
    return [base.with_name(f"{base.name}{FORMATS[name][0]}") for name in formats]


def cues(transcript: Transcript) -> list[Cue]:
    """Subtitles of a transcript."""
    return paced(
        cue
        for segment in transcript.segments
        for cue in cues_of(_timed_words(segment), segment.speaker)
    )


def srt(transcript: Transcript) -> str:
    """The subtitles as SubRip."""
    return to_srt(cues(transcript))


def paragraphs(segments: Sequence[Segment]) -> list[tuple[str | None, str]]:
    """Group segments into paragraphs of one speaker each: pairs of speaker and text."""
    grouped: list[list[Segment]] = []
    for segment in segments:
        if not grouped or _begins_paragraph(grouped[-1], segment):
            grouped.append([])
        grouped[-1].append(segment)
    return [
        (group[0].speaker, " ".join(segment.text for segment in group if segment.text))
        for group in grouped
    ]


def _begins_paragraph(group: Sequence[Segment], segment: Segment) -> bool:
    last = group[-1]
    if segment.speaker != last.speaker or segment.start_s - last.end_s >= PARAGRAPH_PAUSE_S:
        return True
    is_long = sum(len(member.text) for member in group) >= PARAGRAPH_CHARACTERS
    return is_long and last.text.endswith((".", "?", "!", "…", "。", "।", "؟"))


def _timed_words(segment: Segment) -> list[TimedWord]:
    """The segment's words, or its text with times spread over its characters."""
    if segment.words and text_of(segment.words) == segment.text:
        return [TimedWord(word.start_s, word.end_s, word.text) for word in segment.words]
    words: list[TimedWord] = []
    per_character_s = (segment.end_s - segment.start_s) / max(1, len(segment.text))
    position = 0
    for part in segment.text.split(" "):
        start_s = segment.start_s + position * per_character_s
        position += len(part) + 1
        words.append(TimedWord(start_s, segment.start_s + position * per_character_s, f" {part}"))
    return words


def _json(result: Result) -> str:
    return json.dumps(result.to_json(), ensure_ascii=False, indent=1) + "\n"


def _text(result: Result) -> str:
    return result.corrected.transcript.text + "\n"


def _formatted(result: Result) -> str:
    """Paragraphs with an empty line between them; a speaker's name before each, if known."""
    blocks = (
        f"{speaker}:\n{text}" if speaker else text
        for speaker, text in paragraphs(result.corrected.transcript.segments)
    )
    return "\n\n".join(blocks) + "\n"


def _srt(result: Result) -> str:
    # An empty file would look like one that was never finished.
    return srt(result.corrected.transcript) or "\n"


def _vtt(result: Result) -> str:
    return to_vtt(cues(result.corrected.transcript))


def _tsv(result: Result) -> str:
    """Milliseconds and text, as the original Whisper writes them."""
    file = io.StringIO()
    table = csv.writer(
        file, "excel-tab", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
    )
    table.writerow(("start", "end", "text"))
    for segment in result.corrected.transcript.segments:
        row = (round(segment.start_s * 1000), round(segment.end_s * 1000))
        table.writerow((*row, " ".join(segment.text.split())))
    return file.getvalue()


def _rttm(result: Result) -> str:
    # A line of comment where nobody speaks: an empty file would look like one that was never finished.
    name = PurePosixPath(result.source).name
    return to_rttm(result.turns or (), name) or ";; nobody speaks\n"


def _summary(result: Result) -> str:
    return f"{result.summary or ''}\n"


FORMATS: Mapping[str, tuple[str, Callable[[Result], str]]] = {
    "json": (".json", _json),
    "txt": (".txt", _text),
    "formatted": ("_formatted.txt", _formatted),
    "srt": (".srt", _srt),
    "vtt": (".vtt", _vtt),
    "tsv": (".tsv", _tsv),
    "rttm": (".rttm", _rttm),
    "summary": (".summary.txt", _summary),
}
"""By the words of `--formats`, and of the stages that there may have been: the ending of the file's name, and
what writes it."""


ADDED_FORMATS = ("rttm", "summary")
"""Those that only some results have."""


def added_formats(result: Result) -> tuple[str, ...]:
    """The added forms that this result has."""
    has = (result.turns is not None, bool(result.summary))
    return tuple(name for name, is_there in zip(ADDED_FORMATS, has, strict=True) if is_there)
