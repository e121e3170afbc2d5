"""A team's own words: names Whisper should expect, spellings to correct, fillers to leave out.

    whisper_vocabulary.json   custom_vocabulary, top_phrases, top_words, filter_words
    replacement_map.json      wrong spelling -> right spelling

The prompt obeys Whisper's limit: of a longer one it would see 223 tokens and silently lose the rest, so the
most important terms come first and the prompt ends where the tokens do. Knows no engine: tokens are counted by
a function it is given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from pipelines.errors import PipelineError

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

PROMPT_TOKENS = 200
"""Of the 223 that Whisper looks at: joining terms may cost a few more than counting them singly."""
OPENING = "Names: "
"""Makes a list of words look like a text; its style colours what is written."""


class BadVocabulary(PipelineError):
    """A vocabulary file that cannot be read or is not what it should be."""

    code = "INPUT_INVALID"


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Term(_Lenient):
    display_as: str


class _Phrase(_Lenient):
    phrase: str


class _Frequent(_Lenient):
    word: str


class _File(_Lenient):
    custom_vocabulary: tuple[_Term, ...] = ()
    top_phrases: tuple[_Phrase, ...] = ()
    top_words: tuple[_Frequent, ...] = ()
    filter_words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is told, and which terms there was no room for."""

    text: str
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one team, the most important first."""

    terms: tuple[str, ...] = ()
    fillers: tuple[str, ...] = ()
    replacements: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(cls, vocabulary: Path | None, replacements: Path | None) -> Self:
        """Read the files that there are.

        Raises:
            BadVocabulary: with the file and what is wrong in it.
        """
        parsed = _read(vocabulary, TypeAdapter(_File)) if vocabulary else _File()
        rules = _read(replacements, TypeAdapter(dict[str, str])) if replacements else {}
        return cls(
            terms=tuple(_distinct(_terms(parsed))),
            fillers=tuple(_distinct(parsed.filter_words)),
            replacements=tuple(rules.items()),
        )

    def prompt(self, count_tokens: Callable[[str], int], expected: Iterable[str] = ()) -> Prompt:
        """Write the prompt of one recording.

        Args:
            count_tokens: by the model's own tokens.
            expected: names that this recording is likely to have; they come first.
        """
        terms = list(_distinct((*expected, *self.terms)))
        room = PROMPT_TOKENS - count_tokens(OPENING)
        kept = 0
        for term in terms:
            room -= count_tokens(f"{term},")
            if room < 0:
                break
            kept += 1
        if kept < len(terms):
            logger.info("%d of %d vocabulary terms fit the prompt", kept, len(terms))
        text = f"{OPENING}{', '.join(terms[:kept])}." if kept else ""
        return Prompt(text, tuple(terms[kept:]))


def _terms(parsed: _File) -> Iterator[str]:
    yield from (term.display_as for term in parsed.custom_vocabulary)
    yield from (phrase.phrase for phrase in parsed.top_phrases)
    yield from (frequent.word for frequent in parsed.top_words)


def _distinct(terms: Iterable[str]) -> Iterator[str]:
    """Each term once, whatever its case, with its first spelling."""
    seen: set[str] = set()
    for term in terms:
        plain = " ".join(term.split())
        if plain and plain.casefold() not in seen:
            seen.add(plain.casefold())
            yield plain


def _read(path: Path, adapter: TypeAdapter[_T]) -> _T:
    try:
        return adapter.validate_json(path.read_bytes())
    except OSError as error:
        raise BadVocabulary(f"{path.name} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise BadVocabulary(f"{path.name} is no vocabulary: {place}: {first['msg']}.") from error
