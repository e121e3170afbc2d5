"""Which language model, by one line of settings: `openai:MODEL` or `bedrock:MODEL`.

Knows names only. The libraries of a protocol are imported when its adapter is opened, because a box
that refines nothing need not have them. Keys come from the environment that each library documents
(`OPENAI_API_KEY`; the AWS credential chain) or from a file that the caller has read, never from a flag.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pipelines.errors import ModelNotFound
from pipelines.llm.port import LanguageModel


class Wire(StrEnum):
    """How an endpoint is spoken to."""

    OPENAI = "openai"
    BEDROCK = "bedrock"


class AnswerFormat(StrEnum):
    """How much help an OpenAI-compatible server offers to keep an answer in form."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    PROMPT = "text"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of a language model.

    `url` replaces the vendor's own address (a local server, a proxy). `attempts` counts the first one;
    retries, their pauses and `Retry-After` are the vendor library's. `timeout_s` is for one attempt.
    """

    protocol: Wire
    model: str
    url: str | None = None
    region: str = "us-east-1"
    answer_format: AnswerFormat = AnswerFormat.SCHEMA
    timeout_s: float = 120.0
    attempts: int = 5
    key: str | None = field(default=None, repr=False)
    """Instead of `OPENAI_API_KEY`."""


def parse_model(name: str) -> tuple[Wire, str]:
    """Split `openai:MODEL` or `bedrock:MODEL`.

    Raises:
        ModelNotFound: the name has no known protocol, or no model.
    """
    protocol, _, model = name.partition(":")
    if protocol not in {wire.value for wire in Wire} or not model:
        raise ModelNotFound(
            f"{name!r} names no language model; write openai:MODEL or bedrock:MODEL, "
            "for example bedrock:anthropic.claude-3-5-sonnet-20241022-v2:0"
        )
    return Wire(protocol), model


def open_model(endpoint: Endpoint) -> LanguageModel:
    """Prepare an adapter; nothing is sent before the first question.

    Raises:
        ModelNotFound: the library of this protocol is not installed.
        ModelRefused: it is, but finds no key or no region.
    """
    try:
        if endpoint.protocol is Wire.BEDROCK:
            from pipelines.llm.bedrock import BedrockModel

            return BedrockModel(endpoint)
        from pipelines.llm.openai_chat import OpenAiModel

        return OpenAiModel(endpoint)
    except ImportError as error:
        raise ModelNotFound(
            f"{endpoint.protocol} needs the library {error.name}; install the extra: "
            "pip install 'scriptorium[llm]'"
        ) from error
