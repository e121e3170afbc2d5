"""Groups words into segments as people speak: at sentence ends and pauses, never too long for a subtitle.

Words keep the space that stands before them, so that joining them gives the text in any script.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.asr.whisper.transcript import Segment, Word

PAUSE_S = 0.8
"""Silence that ends a segment."""
LONGEST_S = 7.0
SENTENCE_ENDS = tuple(".?!…。？！।؟۔։።")
_CLOSERS = "\"'”’»)]}"


def segments_of(words: Sequence[Word]) -> list[Segment]:
    """Cut a row of words into segments."""
    segments: list[Segment] = []
    group: list[Word] = []
    for word in words:
        if group and (_ends_sentence(group[-1]) or word.start_s - group[-1].end_s >= PAUSE_S):
            segments += _short_enough(group)
            group = []
        group.append(word)
    return segments + _short_enough(group)


def text_of(words: Sequence[Word]) -> str:
    """The words as one text."""
    return "".join(word.text for word in words).strip()


def _ends_sentence(word: Word) -> bool:
    return word.text.rstrip(_CLOSERS).endswith(SENTENCE_ENDS)


def _short_enough(words: list[Word]) -> list[Segment]:
    """One segment, or several that are cut at the longest pauses."""
    if not words:
        return []
    if words[-1].end_s - words[0].start_s <= LONGEST_S or len(words) < 2:
        return [_segment(words)]
    cut = max(
        range(1, len(words)), key=lambda place: (_pause(words, place), _centrality(words, place))
    )
    return _short_enough(words[:cut]) + _short_enough(words[cut:])


def _pause(words: Sequence[Word], place: int) -> float:
    """Silence before a word, in steps of a tenth of a second; a clause end counts as one step."""
    clause = words[place - 1].text.endswith((",", ";", ":", "،", "、", "，"))
    return round(words[place].start_s - words[place - 1].end_s, 1) + 0.1 * clause


def _centrality(words: Sequence[Word], place: int) -> int:
    return -abs(2 * place - len(words))


def _segment(words: Sequence[Word]) -> Segment:
    probability = sum(word.probability for word in words) / len(words)
    return Segment(
        words[0].start_s, words[-1].end_s, text_of(words), round(probability, 4), tuple(words)
    )
