"""Amazon's services as sinks: files to S3, entities and key phrases from Comprehend.

Credentials and region come from the AWS chain; `endpoint` replaces Amazon's address (MinIO, a test).
Retries are botocore's (mode "standard"). Knows records; does not know who reads the results.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.sinks.record import Entity, Passage, Record, SinkFailed

MOST_BYTES = 100_000
"""What Comprehend reads in one synchronous call (Amazon Comprehend: quotas, DetectEntities)."""
LANGUAGES = frozenset({"ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "pt", "zh", "zh-TW"})
"""What Comprehend knows; recordings in other languages are left without entities."""
KEY_PHRASE = "KEY_PHRASE"
_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10)


class S3Upload:
    """Puts a record's files under `s3://bucket/prefix/asset_id/`."""

    def __init__(self, url: str, *, endpoint: str | None = None) -> None:
        """Prepare; nothing is sent.

        Raises:
            SinkFailed: the URL is not one of S3.
        """
        scheme, _, rest = url.partition("://")
        self._bucket, _, prefix = rest.partition("/")
        if scheme != "s3" or not self._bucket:
            raise SinkFailed(f"{url!r} is no place in S3; write s3://bucket/prefix")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        with _as_sink_failure("S3 cannot be used"):
            self._client = boto3.client("s3", endpoint_url=endpoint, config=_CONFIG)

    def store(self, record: Record) -> None:
        """Upload every file of a record; a file that is there already is replaced."""
        for path in record.files:
            with _as_sink_failure(f"{path.name} could not be uploaded"):
                self._client.upload_file(
                    str(path), self._bucket, self.key(record, path), ExtraArgs=_headers(path)
                )

    def key(self, record: Record, path: Path) -> str:
        """Where a file of a record lies in the bucket."""
        return f"{self._prefix}{record.asset_id}/{path.name}"


class EntityFinder:
    """Finds names and key phrases with Amazon Comprehend."""

    def __init__(self, *, region: str | None = None, endpoint: str | None = None) -> None:
        """Prepare; nothing is sent.

        Raises:
            SinkFailed: nobody says which region.
        """
        with _as_sink_failure("Comprehend cannot be used"):
            self._client = boto3.client(
                "comprehend", region_name=region, endpoint_url=endpoint, config=_CONFIG
            )

    def find(self, record: Record) -> tuple[Entity, ...]:
        """Entities and key phrases, each once with its best score; none in unknown languages.

        Raises:
            SinkFailed: the service refused or stayed away.
        """
        if record.language not in LANGUAGES:
            return ()
        best: dict[tuple[str, str], float] = {}
        for part in _parts(record.passages):
            for entity in self._ask(part, record.language):
                key = (entity.kind, entity.text)
                best[key] = max(entity.score, best.get(key, 0.0))
        return tuple(Entity(kind, words, score) for (kind, words), score in best.items())

    def _ask(self, words: str, language: str) -> Iterator[Entity]:
        question = {"Text": words, "LanguageCode": language}
        with _as_sink_failure("entities could not be found"):
            entities = self._client.detect_entities(**question)["Entities"]
            phrases = self._client.detect_key_phrases(**question)["KeyPhrases"]
        for one in entities:
            yield Entity(one["Type"], one["Text"], one["Score"])
        for one in phrases:
            yield Entity(KEY_PHRASE, one["Text"], one["Score"])


def _parts(passages: tuple[Passage, ...]) -> Iterator[str]:
    """Whole passages in texts that the service reads; bytes count, not characters."""
    waiting: list[str] = []
    size = 0
    for passage in passages:
        length = len(passage.text.encode()) + 1
        if waiting and size + length > MOST_BYTES:
            yield " ".join(waiting)
            waiting, size = [], 0
        waiting.append(passage.text)
        size += length
    if waiting:
        yield " ".join(waiting)


def _headers(path: Path) -> dict[str, Any]:
    kind, _ = mimetypes.guess_type(path.name)
    return {"ContentType": kind or "application/octet-stream"}


@contextmanager
def _as_sink_failure(what: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error, OSError) as error:
        raise SinkFailed(f"{what}: {error}") from error
