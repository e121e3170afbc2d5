"""Texts that Whisper makes up: running on, going round in circles, reciting its prompt. Pure: text in, flags out.

Thresholds of the original Whisper where it has one; the stricter ones for shortened windows are measured.
"""

from __future__ import annotations

import zlib

from pipelines.asr.whisper.transcript import Flag
from pipelines.text.normalize import spoken_form

FASTEST_SPEECH = 26.0
"""Characters a second above which a text is not what was said."""
MOST_COMPRESSIBLE = 2.4
"""Texts that zlib shrinks more than this repeat themselves (threshold of the original Whisper)."""
MOST_COMPRESSIBLE_IN_SHORT_WINDOW = 1.6
"""A shortened window runs on more easily, and looking again costs little."""
SHORTEST_COMPRESSED = 20
"""Characters below which the ratio says nothing."""
LONGEST_COMPRESSED = 800
"""Characters (a window's worth) beyond which ordinary text compresses as well as a loop."""
MOST_REPEATED = 3
"""The same words so often in a row are a loop …"""
LONGEST_LOOP_WORDS = 8
"""… looked for up to this length."""
LEAST_PROBABLE = -1.0
"""Mean log-probability of the tokens below which the decoder was guessing."""
LIKELY_SILENCE = 0.6
"""Probability of "no speech" above which a stock phrase is not believed."""
SHORTEST_ECHO_WORDS = 2

STOCK_PHRASES = frozenset(
    {
        "thank you",
        "thank you very much",
        "thank you for watching",
        "thanks for watching",
        "please subscribe",
        "bye",
        "you",
        "subtitles by the amara org community",
        "untertitel der amara org community",
        "sous titres réalisés par la communauté d amara org",
        "subtítulos realizados por la comunidad de amara org",
    }
)
"""What the training data says over silence, in spoken form."""


def compression_ratio(text: str) -> float:
    """Length over compressed length; high for loops."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded)) if encoded else 0.0


def is_loop(text: str) -> bool:
    """Whether the same one to eight words stand there three times in a row.

    A single word must come five times: "holy, holy, holy" is scripture.
    """
    words = spoken_form(text).split()
    for length in range(1, LONGEST_LOOP_WORDS + 1):
        least = MOST_REPEATED + 2 if length == 1 else MOST_REPEATED
        run = 0
        for position in range(length, len(words)):
            # As many words as a loop needs, each equal to the one a loop's length before it.
            run = run + 1 if words[position] == words[position - length] else 0
            if run >= (least - 1) * length:
                return True
    return False


def looks_wrong(text: str, duration_s: float, *, is_window_short: bool) -> bool:
    """Whether a piece should be decoded again with other settings."""
    most = MOST_COMPRESSIBLE_IN_SHORT_WINDOW if is_window_short else MOST_COMPRESSIBLE
    compresses = len(text) > SHORTEST_COMPRESSED and compression_ratio(text) > most
    return compresses or len(text) > FASTEST_SPEECH * duration_s or is_loop(text)


def echoes(text: str, prompt: str) -> bool:
    """Whether a text only recites a part of the prompt."""
    said = spoken_form(text)
    many = len(said.split()) >= SHORTEST_ECHO_WORDS
    return many and f" {said} " in f" {spoken_form(prompt)} "


def flags_of(
    text: str, duration_s: float, *, no_speech: float = 0.0, prompt: str = ""
) -> tuple[Flag, ...]:
    """Say what is wrong with a piece of text, as far as it can be seen from outside."""
    repeats = compression_ratio(text[:LONGEST_COMPRESSED]) > MOST_COMPRESSIBLE
    checks = (
        (Flag.TOO_FAST, len(text) > FASTEST_SPEECH * duration_s),
        (Flag.REPETITION, repeats or is_loop(text)),
        (Flag.STOCK_PHRASE, no_speech > LIKELY_SILENCE and spoken_form(text) in STOCK_PHRASES),
        (Flag.PROMPT_ECHO, bool(prompt) and echoes(text, prompt)),
    )
    return tuple(flag for flag, is_raised in checks if is_raised)
