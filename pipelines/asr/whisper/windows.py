"""Decodes chunks side by side on CTranslate2, in an encoder window as short as the longest of them.

The encoder's cost grows with its window, and Whisper's is 30 s however short a verse is. CTranslate2 takes any
even number of frames, so a batch of verses of 6 s costs a fourth. What such a window gives is checked by the
caller (`suspicion`): with too little silence at the end a decoder may run on.

Shapes: b chunks of a batch, m mel bands, t mel frames of 10 ms.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens, merge_punctuations
from numpy.typing import NDArray

from pipelines.asr.whisper.chunks import QUIET_AFTER_S, WINDOW_S, Chunk
from pipelines.asr.whisper.engine import SAMPLE_RATE_HZ, Listening
from pipelines.asr.whisper.transcript import Word

FRAME_S = 0.01
FRAME_SAMPLES = round(FRAME_S * SAMPLE_RATE_HZ)
WINDOW_FRAMES = round(WINDOW_S / FRAME_S)
MAX_TOKENS = 448
"""Of a prompt and an output together."""
MAX_PROMPT_TOKENS = 223
"""Whisper's limit; what is beyond it would push the beginning out of sight."""
OPENING_MARKS = "\"'“¿([{-"
CLOSING_MARKS = "\"'.。,，!！?？:：”)]}、"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the model wrote for one chunk; times in seconds of the recording."""

    text: str
    words: tuple[Word, ...]
    confidence: float
    no_speech: float
    language: str
    language_probability: float


class WindowDecoder:
    """A loaded model, seen as: chunks in, texts out."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model
        self._tokenizers: dict[str, Tokenizer] = {}

    @property
    def is_multilingual(self) -> bool:
        """Whether there is a language to choose."""
        return bool(self._model.model.is_multilingual)

    def decode(
        self, chunks: Sequence[Chunk], listening: Listening, *, is_full: bool = False
    ) -> list[Decoded]:
        """Decode one batch; each chunk in the listening's language or in its own.

        Args:
            chunks: of similar length, at most `LONGEST_S` each.
            listening: what is wanted.
            is_full: in Whisper's own window of 30 s.
        """
        frames = WINDOW_FRAMES if is_full else _window_frames(chunks)
        encoded = self._model.encode(self._mels(chunks, frames))
        if listening.language or not self.is_multilingual:
            known = [(listening.language or "en", 1.0)] * len(chunks)
            return self._generate(encoded, chunks, known, listening)
        heard = self._languages(encoded)
        if len({language for language, _ in heard}) == 1:
            return self._generate(encoded, chunks, heard, listening)
        return self._decode_by_language(chunks, heard, listening, is_full=is_full)

    def detect(self, chunks: Sequence[Chunk]) -> list[tuple[str, float]]:
        """Say for each chunk which language it is in, and how sure that is."""
        return self._languages(self._model.encode(self._mels(chunks, _window_frames(chunks))))

    def count_tokens(self, text: str) -> int:
        """How many tokens of a prompt a text takes."""
        return len(self._tokenizer("en").encode(f" {text.strip()}"))

    def _tokenizer(self, language: str) -> Tokenizer:
        """The model's own tokens, for a language."""
        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self._model.hf_tokenizer, self.is_multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]

    def _decode_by_language(
        self,
        chunks: Sequence[Chunk],
        heard: Sequence[tuple[str, float]],
        listening: Listening,
        *,
        is_full: bool,
    ) -> list[Decoded]:
        """Decode a mixed batch as one batch per language: a batch has one sequence of start tokens."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, (language, _) in enumerate(heard):
            places[language].append(place)
        decoded: dict[int, Decoded] = {}
        for language, members in places.items():
            one = replace(listening, language=language)
            batch = self.decode([chunks[place] for place in members], one, is_full=is_full)
            for place, result in zip(members, batch, strict=True):
                decoded[place] = replace(result, language_probability=heard[place][1])
        return [decoded[place] for place in range(len(chunks))]

    def _languages(self, encoded: Any) -> list[tuple[str, float]]:
        best = (candidates[0] for candidates in self._model.model.detect_language(encoded))
        return [(token.strip("<|>"), float(probability)) for token, probability in best]

    def _mels(self, chunks: Sequence[Chunk], frames: int) -> NDArray[np.float32]:
        """Log-mel spectrograms (b, m, t) of the chunks, each followed by silence."""
        size = frames * FRAME_SAMPLES
        return np.stack(
            [
                self._model.feature_extractor(
                    np.pad(chunk.samples[:size], (0, max(0, size - len(chunk.samples)))), padding=0
                )[:, :frames]
                for chunk in chunks
            ]
        )

    def _generate(
        self,
        encoded: Any,
        chunks: Sequence[Chunk],
        languages: Sequence[tuple[str, float]],
        listening: Listening,
    ) -> list[Decoded]:
        tokenizer = self._tokenizer(languages[0][0])
        prompt = [*_prompt_tokens(tokenizer, listening.prompt), *tokenizer.sot_sequence]
        results = self._model.model.generate(
            encoded,
            [[*prompt, tokenizer.no_timestamps]] * len(chunks),
            beam_size=listening.beam,
            max_length=MAX_TOKENS,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = [list(result.sequences_ids[0]) for result in results]
        words = self._align(encoded, chunks, tokens, tokenizer) if listening.has_words else None
        return [
            Decoded(
                text=tokenizer.decode(tokens[place]).strip(),
                words=words[place] if words else (),
                confidence=_mean_probability(result.scores[0], len(tokens[place])),
                no_speech=float(result.no_speech_prob),
                language=languages[place][0],
                language_probability=languages[place][1],
            )
            for place, result in enumerate(results)
        ]

    def _align(
        self, encoded: Any, chunks: Sequence[Chunk], tokens: list[list[int]], tokenizer: Tokenizer
    ) -> list[tuple[Word, ...]]:
        """Word times from cross-attention; as exact in a short window as in the full one (measured)."""
        # An odd number of frames, or none, would leave the attention without its last position.
        frames = [max(2, len(chunk.samples) // FRAME_SAMPLES // 2 * 2) for chunk in chunks]
        aligned = self._model.find_alignment(tokenizer, tokens, encoded, frames)
        return [_words(found, chunk) for found, chunk in zip(aligned, chunks, strict=True)]


def _window_frames(chunks: Sequence[Chunk]) -> int:
    longest_s = max(chunk.duration_s for chunk in chunks)
    frames = 2 * math.ceil((longest_s + QUIET_AFTER_S) / FRAME_S / 2)
    return min(WINDOW_FRAMES, frames)


def _prompt_tokens(tokenizer: Tokenizer, prompt: str) -> list[int]:
    if not prompt:
        return []
    return [tokenizer.sot_prev, *tokenizer.encode(f" {prompt.strip()}")[:MAX_PROMPT_TOKENS]]


def _mean_probability(score: float, tokens: int) -> float:
    """From the mean log-probability that beam search returns; the end mark counts as a token."""
    return round(math.exp(min(0.0, score * tokens / (tokens + 1))), 4)


def _words(found: list[dict[str, Any]], chunk: Chunk) -> tuple[Word, ...]:
    """Words with their punctuation, inside the chunk and in order; what lasts no time is kept too."""
    merge_punctuations(found, OPENING_MARKS, CLOSING_MARKS)
    words: list[Word] = []
    earliest_s, last_s = chunk.start_s, chunk.start_s + chunk.duration_s
    for entry in found:
        if not entry["word"]:
            continue
        start_s = min(max(chunk.start_s + float(entry["start"]), earliest_s), last_s)
        end_s = min(max(chunk.start_s + float(entry["end"]), start_s), last_s)
        earliest_s = end_s
        probability = round(float(entry["probability"]), 4)
        words.append(Word(round(start_s, 3), round(end_s, 3), entry["word"], probability))
    return tuple(words)
