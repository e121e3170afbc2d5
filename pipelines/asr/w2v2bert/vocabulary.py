"""The characters of one project as CTC symbols, in any script.

The space between words is the symbol `|` and nothing else; `[PAD]` is the CTC blank. Files are the ones
that `Wav2Vec2CTCTokenizer` reads (`vocab.json`, `tokenizer_config.json`), so that a checkpoint can be
used without this project. Knows no audio and no model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.errors import BadCheckpoint, EmptyCorpus
from pipelines.text.normalize import canonical, is_sentence_sign, spoken_form

BLANK, UNKNOWN, DELIMITER = "[PAD]", "[UNK]", "|"
SPECIAL = (BLANK, UNKNOWN, DELIMITER)
BLANKS = (BLANK, "<pad>")
"""Names of the blank, ours first; other workers' checkpoints use the second."""
RARE_SHARE = 2e-5
"""Characters below this share of all text are left out: their few examples cause loss spikes."""
LEAST_SIGNS = 200
LEAST_SIGN_SHARE = 2e-3
"""A comma or full stop is learnt if there are this many, and this share of all characters; a corrector
restores the others."""
LEAST_DIGITS = 20
"""A digit with fewer examples is no symbol: how it is spoken could not be learnt."""
MAX_SYMBOLS = 20_000
MAX_FILE_BYTES = 4 << 20


@dataclass(frozen=True)
class Vocabulary:
    """Symbols by id; every id is below `len(vocabulary)`."""

    symbols: tuple[str, ...]

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Vocabulary:
        """Collect the characters that the spoken forms of these texts are made of.

        Sentence signs and digits are among them where there are enough to learn them from.

        Raises:
            EmptyCorpus: there is not one letter in them.
        """
        texts = list(texts)
        signs = _frequent_signs(texts)
        counts = Counter(character for text in texts for character in spoken_form(text, signs))
        counts.pop(" ", None)
        threshold = RARE_SHARE * counts.total()
        characters = sorted(
            character
            for character, n in counts.items()
            if n >= (LEAST_DIGITS if character.isdecimal() else threshold)
        )
        if all(map(is_sentence_sign, characters)):
            raise EmptyCorpus("The texts contain no letters to learn.")
        return cls((*SPECIAL, *characters))

    def extended(self, texts: Iterable[str]) -> Vocabulary:
        """The same ids, with the new characters of these texts after them."""
        new = Vocabulary.from_texts(texts).symbols
        return Vocabulary((*self.symbols, *(s for s in new if s not in self._ids)))

    def padded_to(self, size: int) -> Vocabulary:
        """Add unnamed symbols that print as nothing: some tokenizers keep theirs in another file."""
        unnamed = (f"<unnamed_{index}>" for index in range(len(self), size))
        return Vocabulary((*self.symbols, *unnamed))

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def blank_id(self) -> int:
        """The CTC blank, which is also the padding."""
        return next(self._ids[name] for name in BLANKS if name in self._ids)

    @property
    def space_id(self) -> int | None:
        """The border between words, if the vocabulary has one."""
        return self._ids.get(DELIMITER, self._ids.get(" "))

    def spelling(self, text: str) -> str:
        """The text as the recogniser would write it if it heard everything right."""
        return spoken_form(text, self._signs)

    def missing(self, text: str) -> set[str]:
        """Characters of its spelling that it has no symbol for."""
        return {character for character in self.spelling(text) if character != " "} - set(self._ids)

    def encode(self, text: str) -> list[int]:
        """Ids of the spelling; characters outside the vocabulary are left out."""
        space = DELIMITER if DELIMITER in self._ids else " "
        symbols = (space if character == " " else character for character in self.spelling(text))
        return [self._ids[symbol] for symbol in symbols if symbol in self._ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids that are already free of repeats and blanks."""
        return canonical("".join(self._texts[index] for index in ids))

    def save(self, directory: Path) -> None:
        """Write the tokenizer's two files."""
        (directory / "vocab.json").write_text(
            json.dumps(self._ids, ensure_ascii=False, indent=1), "utf-8"
        )
        settings = {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "unk_token": UNKNOWN,
            "pad_token": BLANK,
            "word_delimiter_token": DELIMITER,
            "bos_token": None,
            "eos_token": None,
            "do_lower_case": False,
            "replace_word_delimiter_char": " ",
        }
        (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), "utf-8")

    @classmethod
    def load(cls, directory: Path) -> Vocabulary:
        """Read `vocab.json`, also of checkpoints that other workers wrote.

        Raises:
            BadCheckpoint: ids with gaps or doubles, or no blank.
        """
        ids = _read_ids(directory / "vocab.json")
        symbols = tuple(sorted(ids, key=lambda symbol: ids[symbol]))
        has_blank = any(name in ids for name in BLANKS)
        if sorted(ids.values()) != list(range(len(ids))) or not has_blank:
            raise BadCheckpoint(
                "The model's vocabulary has gaps, doubled numbers or no blank symbol."
            )
        return cls(symbols)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: index for index, symbol in enumerate(self.symbols)}

    @cached_property
    def _signs(self) -> frozenset[str]:
        """Signs that are symbols of their own; `|` is none, it stands for the space."""
        symbols = (s for s in self.symbols if len(s) == 1 and s != DELIMITER)
        return frozenset(filter(is_sentence_sign, symbols))

    @cached_property
    def _texts(self) -> Sequence[str]:
        """What each id prints as; markup such as `<s>` of other tokenizers prints as nothing."""
        return [_text_of(symbol) for symbol in self.symbols]


def _frequent_signs(texts: Iterable[str]) -> frozenset[str]:
    counts = Counter(character for text in texts for character in canonical(text))
    threshold = max(LEAST_SIGNS, LEAST_SIGN_SHARE * counts.total())
    return frozenset(s for s, n in counts.items() if n >= threshold and is_sentence_sign(s))


def _text_of(symbol: str) -> str:
    if symbol == DELIMITER:
        return " "
    is_markup = len(symbol) > 2 and symbol[0] + symbol[-1] in ("[]", "<>")
    return "" if is_markup else symbol


def _read_ids(path: Path) -> dict[str, int]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadCheckpoint("The model's vocabulary file is implausibly large.")
        document: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadCheckpoint("The model's vocabulary is missing or damaged.") from error
    if not isinstance(document, dict) or len(document) > MAX_SYMBOLS:
        raise BadCheckpoint("The model's vocabulary is not a plain list of symbols.")
    if not all(type(index) is int for index in document.values()):
        raise BadCheckpoint("The model's vocabulary has ids that are no numbers.")
    return document
