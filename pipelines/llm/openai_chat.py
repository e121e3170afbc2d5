"""Any endpoint that speaks OpenAI's chat completions, through the vendor's client.

Knows the wire, not the question. Retries, back-off and `Retry-After` are the client's.
"""

from __future__ import annotations

import json
import os
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from pipelines.llm.endpoint import AnswerFormat, Endpoint
from pipelines.llm.port import Answer, BadAnswer, ModelRefused, ModelUnreachable, Question

NO_KEY = "none"
"""What is sent to a server of one's own when no key is set; such servers look at none."""

SHORTEST_KEY = 8


class OpenAiModel:
    """A chat model behind an address."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Prepare the client; nothing is sent.

        Raises:
            ModelRefused: OpenAI's own address without a key.
        """
        key = endpoint.key or os.environ.get("OPENAI_API_KEY")
        if not key and endpoint.url is None:
            raise ModelRefused("set OPENAI_API_KEY, or give the address of a server of your own")
        self._endpoint = endpoint
        self._client = openai.OpenAI(
            api_key=key or NO_KEY,
            base_url=endpoint.url,
            timeout=endpoint.timeout_s,
            max_retries=endpoint.attempts - 1,
        )

    @property
    def name(self) -> str:
        """The model's name."""
        return self._endpoint.model

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def ask(self, question: Question) -> Answer:
        """Ask once, at temperature 0; see `LanguageModel.ask`."""
        try:
            reply = self._client.chat.completions.create(
                model=self._endpoint.model,
                messages=[
                    {"role": "system", "content": _instructions(question)},
                    {"role": "user", "content": question.text},
                ],
                temperature=0,
                max_tokens=question.max_tokens,
                response_format=self._format(question),
            )
        except (
            openai.APIConnectionError,
            openai.RateLimitError,
            openai.InternalServerError,
        ) as error:
            raise ModelUnreachable(f"{self.name} did not answer: {error}") from error
        except openai.APIStatusError as error:
            said = _without(self._client.api_key, error.message)
            raise ModelRefused(f"{self.name} refuses: {said}") from error
        except (openai.APIError, json.JSONDecodeError) as error:
            raise BadAnswer(f"the reply of {self.name} is no chat completion") from error
        return _answer(self.name, reply)

    def _format(self, question: Question) -> Any:
        if self._endpoint.answer_format is AnswerFormat.SCHEMA:
            schema = {"name": "answer", "schema": dict(question.schema), "strict": True}
            return {"type": "json_schema", "json_schema": schema}
        return {"type": self._endpoint.answer_format.value}


def _without(key: str, message: str) -> str:
    """A server may say back what it was given; what is shorter than any key is a word."""
    return message.replace(key, "…") if len(key) >= SHORTEST_KEY else message


def _instructions(question: Question) -> str:
    """Say the form in words too: not every server enforces it, and "json_object" demands the word."""
    schema = json.dumps(question.schema, ensure_ascii=False)
    return f"{question.instructions}\n\nAnswer with JSON only, after this JSON Schema:\n{schema}"


def _answer(name: str, reply: ChatCompletion) -> Answer:
    choice = reply.choices[0] if reply.choices else None
    if choice is None or not choice.message.content:
        raise BadAnswer(f"{name} answered nothing")
    if choice.finish_reason == "length":
        raise BadAnswer(f"the answer of {name} was cut off: too long for its limit")
    usage = reply.usage
    return Answer(
        choice.message.content,
        input_tokens=usage.prompt_tokens if usage else 0,
        output_tokens=usage.completion_tokens if usage else 0,
    )
