"""What the project's own texts tell of its language: what usually follows what, and its words.

Learnt once after a training and stored beside the weights: the n-grams as `language_model.safetensors`, the
words as a plain list. Works on texts in a vocabulary's spelling; knows no sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.asr.w2v2bert.language_model import CharacterModel
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.errors import BadCheckpoint
from pipelines.text.normalize import spoken_form

WORDS_FILE = "known_words.txt"


@dataclass(frozen=True)
class Language:
    """A character model and the words that were seen, without their punctuation."""

    model: CharacterModel
    words: frozenset[str] = frozenset()

    @classmethod
    def from_texts(
        cls, vocabulary: Vocabulary, texts: Iterable[str], unseen: Iterable[str] = ()
    ) -> Language | None:
        """Learn from all texts but those that say what an `unseen` one says; None: nothing to learn from."""
        forbidden = {tuple(vocabulary.encode(text)) for text in unseen}
        sentences = [
            ids for text in texts if tuple(ids := vocabulary.encode(text)) not in forbidden
        ]
        if not any(sentences):
            return None
        model = CharacterModel.from_sentences(
            sentences, symbols=len(vocabulary), boundary=vocabulary.blank_id
        )
        words = (word for ids in sentences for word in vocabulary.decode(ids).split())
        return cls(model, frozenset(map(spoken_form, words)))

    def known_share(self, words: Sequence[str]) -> float:
        """Share of the words that were seen."""
        return sum(spoken_form(word) in self.words for word in words) / max(len(words), 1)

    def save(self, directory: Path) -> None:
        """Write what `load` reads."""
        self.model.save(directory)
        words = "".join(f"{word}\n" for word in sorted(self.words - {""}))
        (directory / WORDS_FILE).write_text(words, "utf-8")

    @classmethod
    def load(cls, directory: Path, vocabulary: Vocabulary) -> Language:
        """Read it back; models of earlier workers come without words.

        Raises:
            BadCheckpoint: it is damaged, or of another vocabulary.
        """
        model = CharacterModel.load(directory)
        if (model.symbols, model.boundary) != (len(vocabulary), vocabulary.blank_id):
            raise BadCheckpoint("The model's language model belongs to another vocabulary.")
        path = directory / WORDS_FILE
        try:
            words = path.read_text("utf-8").split("\n") if path.exists() else []
        except (OSError, ValueError) as error:
            raise BadCheckpoint("The model's list of words is damaged.") from error
        return cls(model, frozenset(words))
