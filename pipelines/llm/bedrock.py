"""Claude and others on Amazon Bedrock, through the Converse API of boto3.

Knows the wire, not the question. The form of an answer is enforced by offering one tool that must be
used (Bedrock: "Tool use", `toolChoice`). Retries and back-off are botocore's (mode "standard").
"""

from __future__ import annotations

import json
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from pipelines.llm.endpoint import Endpoint
from pipelines.llm.port import Answer, BadAnswer, ModelRefused, ModelUnreachable, Question

TOOL = "answer"
LATER = frozenset(
    {
        "ThrottlingException",
        "ServiceUnavailableException",
        "InternalServerException",
        "ModelTimeoutException",
        "ModelNotReadyException",
        "ServiceQuotaExceededException",
    }
)
"""Error codes of Bedrock's runtime that pass; every other code is a refusal."""


class BedrockModel:
    """A model of Bedrock in one region."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Prepare the client; nothing is sent."""
        self._endpoint = endpoint
        self._client = boto3.client(
            "bedrock-runtime",
            region_name=endpoint.region,
            endpoint_url=endpoint.url,
            config=Config(
                connect_timeout=min(10.0, endpoint.timeout_s),
                read_timeout=endpoint.timeout_s,
                retries={"mode": "standard", "total_max_attempts": endpoint.attempts},
            ),
        )

    @property
    def name(self) -> str:
        """The model's id."""
        return self._endpoint.model

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def ask(self, question: Question) -> Answer:
        """Ask once, at temperature 0; see `LanguageModel.ask`."""
        try:
            reply = self._client.converse(
                modelId=self._endpoint.model,
                system=[{"text": question.instructions}],
                messages=[{"role": "user", "content": [{"text": question.text}]}],
                inferenceConfig={"maxTokens": question.max_tokens, "temperature": 0.0},
                toolConfig=_one_tool(question),
            )
        except ClientError as error:
            raise self._judge(error) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise ModelRefused(f"no AWS credentials for {self.name}: {error}") from error
        except BotoCoreError as error:
            raise ModelUnreachable(f"{self.name} did not answer: {error}") from error
        return _answer(self.name, reply)

    def _judge(self, error: ClientError) -> ModelUnreachable | ModelRefused:
        said = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if said.get("Code") in LATER or status >= 500:
            return ModelUnreachable(f"{self.name} did not answer: {said.get('Message', error)}")
        return ModelRefused(f"{self.name} refuses: {said.get('Message', error)}")


def _one_tool(question: Question) -> dict[str, Any]:
    tool = {
        "name": TOOL,
        "description": "Give the answer.",
        "inputSchema": {"json": dict(question.schema)},
    }
    return {"tools": [{"toolSpec": tool}], "toolChoice": {"tool": {"name": TOOL}}}


def _answer(name: str, reply: Any) -> Answer:
    if reply.get("stopReason") == "max_tokens":
        raise BadAnswer(f"the answer of {name} was cut off: too long for its limit")
    usage = reply.get("usage", {})
    blocks = reply.get("output", {}).get("message", {}).get("content", [])
    for block in blocks:
        if "toolUse" in block:
            content = json.dumps(block["toolUse"].get("input"), ensure_ascii=False)
            return Answer(content, usage.get("inputTokens", 0), usage.get("outputTokens", 0))
    raise BadAnswer(f"{name} answered without using the form it was given")
