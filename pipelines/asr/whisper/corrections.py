"""Applies a vocabulary to a transcript: spellings corrected, fillers left out, text and word times in step.

    Transcript ─► per segment: replacements in one pass ─► fillers ─► Corrected (and every change, with its time)

A change stays inside its segment, so that the text and the subtitles made from it are the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pipelines.asr.whisper.segments import text_of
from pipelines.asr.whisper.transcript import Segment, Transcript, Word
from pipelines.asr.whisper.vocabulary import Vocabulary
from pipelines.text.normalize import canonical, spoken_form
from pipelines.text.replacements import Replaced, Replacer

_SENTENCE_ENDS = ".?!…。？！।؟"
_PAUSE_SIGNS = ",;،、，"


class ChangeKind(StrEnum):
    """Why something was changed."""

    REPLACEMENT = "replacement"
    FILLER = "filler"


@dataclass(frozen=True, slots=True)
class Change:
    """What was written there before, what stands there now (nothing, for a filler), and when it was said."""

    kind: ChangeKind
    start_s: float
    end_s: float
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Corrected:
    """A transcript after correction, with the text before it."""

    transcript: Transcript
    original_text: str
    is_vocab_enhanced: bool = False
    has_fillers_removed: bool = False
    changes: tuple[Change, ...] = ()


class Corrector:
    """A vocabulary made ready: compiled once, used for every transcript."""

    def __init__(self, vocabulary: Vocabulary, *, removes_fillers: bool = False) -> None:
        self._replacer = Replacer(dict(vocabulary.replacements))
        fillers = {tuple(spoken_form(filler).split()) for filler in vocabulary.fillers}
        self._fillers = frozenset(fillers - {()}) if removes_fillers else frozenset()
        self._longest = max(map(len, self._fillers), default=0)

    def correct(self, transcript: Transcript) -> Corrected:
        """Correct one transcript."""
        changes: list[Change] = []
        segments = []
        for segment in transcript.segments:
            changed = self._without_fillers(self._respelled(segment, changes), changes)
            if changed.text:
                segments.append(changed)
        text = canonical(" ".join(segment.text for segment in segments))
        return Corrected(
            transcript=replace(transcript, segments=tuple(segments), text=text),
            original_text=transcript.text,
            is_vocab_enhanced=bool(self._replacer),
            has_fillers_removed=bool(self._fillers),
            changes=tuple(changes),
        )

    def _respelled(self, segment: Segment, changes: list[Change]) -> Segment:
        if not self._replacer:
            return segment
        words = _words_of(segment)
        raw = "".join(word.text for word in words)
        text, replaced = self._replacer.replace(raw)
        if not replaced:
            return segment
        spans = _spans(words)
        for change in replaced:
            said = [word for word, (_, end) in zip(words, spans, strict=True) if end > change.start]
            last = [
                word for word, (begin, _) in zip(words, spans, strict=True) if begin < change.end
            ]
            changes.append(
                Change(
                    ChangeKind.REPLACEMENT,
                    said[0].start_s,
                    last[-1].end_s,
                    change.before,
                    change.after,
                )
            )
        kept = _with_replacements(words, replaced) if segment.words else ()
        return replace(segment, text=text.strip(), words=tuple(kept))

    def _without_fillers(self, segment: Segment, changes: list[Change]) -> Segment:
        if not self._fillers:
            return segment
        words = _words_of(segment)
        kept: list[Word] = []
        is_capital_due = False
        position = 0
        while position < len(words):
            length = self._filler_at(words, position)
            if length:
                said = words[position : position + length]
                before = text_of(said)
                changes.append(
                    Change(ChangeKind.FILLER, said[0].start_s, said[-1].end_s, before, "")
                )
                is_capital_due = is_capital_due or (_begins(kept) and before[:1].isupper())
                _close(kept, before)
                position += length
                continue
            word = words[position]
            kept.append(_capitalised(word) if is_capital_due else word)
            is_capital_due = False
            position += 1
        if len(kept) == len(words):
            return segment
        return replace(segment, text=text_of(kept), words=tuple(kept) if segment.words else ())

    def _filler_at(self, words: Sequence[Word], position: int) -> int:
        """How many words from here are one filler; the longest one counts."""
        for length in range(min(self._longest, len(words) - position), 0, -1):
            said = spoken_form(text_of(words[position : position + length]))
            if tuple(said.split()) in self._fillers:
                return length
        return 0


def _words_of(segment: Segment) -> list[Word]:
    """The segment's words in NFC, or its text cut at spaces, with the segment's times."""
    if segment.words:
        return [
            replace(word, text=unicodedata.normalize("NFC", word.text)) for word in segment.words
        ]
    return [
        Word(segment.start_s, segment.end_s, f" {part}", segment.confidence)
        for part in segment.text.split()
    ]


def _spans(words: Sequence[Word]) -> list[tuple[int, int]]:
    """Where each word stands in the text of all."""
    spans, position = [], 0
    for word in words:
        spans.append((position, position + len(word.text)))
        position += len(word.text)
    return spans


def _with_replacements(words: Sequence[Word], replaced: Sequence[Replaced]) -> list[Word]:
    """Words with their new spelling; those that one change covers become one word."""
    kept: list[Word] = []
    pending = list(replaced)
    for word, (begin, end) in zip(words, _spans(words), strict=True):
        text, shift = word.text, 0
        while pending and pending[0].start < end:
            change = pending[0]
            own_start, own_end = max(change.start - begin, 0), min(change.end, end) - begin
            written = change.after if change.start >= begin else ""
            text = text[: own_start + shift] + written + text[own_end + shift :]
            shift += len(written) - (own_end - own_start)
            if change.end > end:
                break
            pending.pop(0)
        if text.strip() and not _continues(replaced, begin):
            kept.append(replace(word, text=text))
        elif kept:
            kept[-1] = replace(kept[-1], text=kept[-1].text + text, end_s=word.end_s)
    return kept


def _continues(replaced: Sequence[Replaced], begin: int) -> bool:
    """Whether a change that began in an earlier word reaches into the one that begins here."""
    return any(change.start < begin < change.end for change in replaced)


def _begins(kept: Sequence[Word]) -> bool:
    return not kept or kept[-1].text.rstrip("\"'”’").endswith(tuple(_SENTENCE_ENDS))


def _close(kept: list[Word], filler: str) -> None:
    """Give the word before a filler the punctuation that the two of them need."""
    if not kept:
        return
    last = kept[-1].text
    if filler[-1:] in _SENTENCE_ENDS and not _begins(kept):
        kept[-1] = replace(kept[-1], text=last.rstrip(_PAUSE_SIGNS) + filler[-1])
    elif filler[-1:] in _PAUSE_SIGNS and last[-1:] in _PAUSE_SIGNS:
        # The pair of commas was there for the filler.
        kept[-1] = replace(kept[-1], text=last.rstrip(_PAUSE_SIGNS))


def _capitalised(word: Word) -> Word:
    stripped = word.text.lstrip()
    space = word.text[: len(word.text) - len(stripped)]
    return replace(word, text=f"{space}{stripped[:1].upper()}{stripped[1:]}")
