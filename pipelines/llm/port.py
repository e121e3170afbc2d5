"""The port to a language model: one question in, one JSON text out.

Knows no vendor and no prompt. Adapters live beside this file, one per protocol.

    PipelineError
    └─ LanguageModelError
       ├─ ModelUnreachable   no answer, or none in time, after the adapter's own retries
       ├─ ModelRefused       the endpoint will not serve us: key, permission, unknown model
       └─ BadAnswer          an answer that is not what was asked for
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pipelines.errors import PipelineError


class LanguageModelError(PipelineError):
    """Root of what a language model can do to us; the transcript itself is never touched by it."""

    code = "MODEL_UNAVAILABLE"


class ModelUnreachable(LanguageModelError):
    """No usable reply after every retry; worth trying again later."""


class ModelRefused(LanguageModelError):
    """The endpoint answers, and says no; trying again changes nothing."""


class BadAnswer(LanguageModelError):
    """The model answered something else than asked; one file's or one passage's problem."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; the answer must be JSON after `schema` (JSON Schema, an object)."""

    instructions: str
    text: str
    schema: Mapping[str, Any]
    max_tokens: int = 4096
    """The longest answer, in the model's tokens."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's JSON as text, not yet validated, and what it cost in tokens."""

    content: str
    input_tokens: int = 0
    output_tokens: int = 0


class LanguageModel(Protocol):
    """Something that answers questions; safe to call from several threads."""

    @property
    def name(self) -> str:
        """The model's name, for reports."""

    def ask(self, question: Question) -> Answer:
        """Answer one question.

        Raises:
            ModelUnreachable: no reply in time.
            ModelRefused: the endpoint says no.
            BadAnswer: the reply has no content that could be JSON.
        """

    def close(self) -> None:
        """Let go of what it holds."""
