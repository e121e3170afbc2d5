"""A small language that nobody speaks, spoken by many voices: a corpus for benchmarks, made in seconds.

Words are made of syllables and follow each other by a grammar that a seed draws, so that text of the language
helps to recognise it. eSpeak NG (Debian's `espeak-ng`, or the library inside the package
`espeakng-loader`) speaks them with the letters of Esperanto, which sound as they are written.
"""

from __future__ import annotations

import argparse
import ctypes
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import espeakng_loader
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
CONSONANTS, VOWELS = "bdgklmnprst", "aeiou"
WORDS = 150
FOLLOWERS = 12  # words that may follow a word
SPEAKERS = ("m1", "f2", "m3", "f4", "m7", "Andy", "linda", "paul")
NOISE = (-4.0, -1.3)  # as a power of ten of full scale; at the upper end it covers consonants
_RETRIEVE, _UTF8, _RATE, _PITCH = 1, 1, 1, 3


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is said, as it is written, and by whom."""

    text: str
    speaker: str


class Language:
    """A lexicon and which words follow which, both drawn from a seed."""

    def __init__(self, seed: int = 0) -> None:
        """Draw a language."""
        dice = random.Random(seed)
        lexicon: set[str] = set()
        while len(lexicon) < WORDS:
            syllables = dice.choices((1, 2, 3), (1, 4, 2))[0]
            lexicon.add(
                "".join(dice.choice(CONSONANTS) + dice.choice(VOWELS) for _ in range(syllables))
            )
        self.words = sorted(lexicon)
        self._after = {word: dice.sample(self.words, FOLLOWERS) for word in self.words}

    def sentence(self, dice: random.Random) -> str:
        """Four to eight words, written with a capital, a full stop and sometimes a comma."""
        words = [dice.choice(self.words)]
        while len(words) < 4 or (len(words) < 8 and dice.random() < 0.7):
            words.append(dice.choice(self._after[words[-1]]))
        if len(words) > 5:
            words[2] += ","
        return f"{' '.join(words).capitalize()}."

    def sentences(self, count: int, seed: int) -> list[Sentence]:
        """Different sentences, the speakers by turns."""
        dice = random.Random(seed)
        texts: dict[str, None] = {}
        while len(texts) < count:
            texts.setdefault(self.sentence(dice))
        return [Sentence(text, SPEAKERS[index % len(SPEAKERS)]) for index, text in enumerate(texts)]


class Speaker:
    """eSpeak NG in this process; one at a time."""

    def __init__(self, language: str = "eo") -> None:
        """Load the library and its voices."""
        self._language = language
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = Path(espeakng_loader.get_data_path()).parent
        self._rate = int(self._library.espeak_Initialize(_RETRIEVE, 0, str(data).encode(), 0))
        if self._rate <= 0:
            raise RuntimeError("eSpeak NG did not start")
        self._blocks: list[NDArray[np.int16]] = []
        # Kept: the library calls it for as long as it lives.
        self._callback = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, sentence: Sentence, dice: random.Random) -> NDArray[np.float32]:
        """Samples at 16 kHz; rate and pitch differ a little every time."""
        library = self._library
        if library.espeak_SetVoiceByName(f"{self._language}+{sentence.speaker}".encode()):
            raise RuntimeError(f"eSpeak NG has no voice {sentence.speaker}")
        library.espeak_SetParameter(_RATE, dice.randint(140, 185), 0)
        library.espeak_SetParameter(_PITCH, dice.randint(40, 60), 0)
        self._blocks = []
        text = sentence.text.encode()
        library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        samples = np.concatenate(self._blocks).astype(np.float32) / 32768.0
        resampled: NDArray[np.float32] = soxr.resample(samples, self._rate, SAMPLE_RATE)
        return resampled

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _: object) -> int:
        if samples and count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0


@cache
def _only_speaker() -> Speaker:
    """The library has one state for the whole process, and hangs when it is initialised again."""
    return Speaker()


def record(sentences: Sequence[Sentence], directory: Path, seed: int = 0) -> list[Path]:
    """Write one recording per sentence, each with its own amount of noise."""
    directory.mkdir(parents=True, exist_ok=True)
    speaker = _only_speaker()
    paths = []
    for number, sentence in enumerate(sentences, start=1):
        dice = random.Random(f"{seed}/{number}")
        samples = speaker.say(sentence, dice)
        level = 10 ** dice.uniform(*NOISE)
        hiss = level * np.random.default_rng([seed, number]).standard_normal(len(samples))
        path = directory / f"{number:04d}.flac"
        soundfile.write(path, (0.6 * samples + hiss).astype(np.float32), SAMPLE_RATE)
        paths.append(path)
    return paths


def main() -> None:
    """Write a corpus for a person to listen to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--sentences", type=int, default=240)
    arguments = parser.parse_args()
    sentences = Language().sentences(arguments.sentences, seed=1)
    for path, sentence in zip(record(sentences, arguments.directory), sentences, strict=True):
        print(path.name, sentence.speaker, sentence.text)


if __name__ == "__main__":
    main()
