"""Takes: the audio attachments of a cell, which of them counts, and where its pointer lies.

Knows no bytes and no store: the caller passes the repository paths that exist. Which take counts is
the editor plugin's rule (`docs/decisions/0002-which-take-counts.md`): the selected one or none.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from gitlab_jobs.codex.cells import Cell, milliseconds, validators
from gitlab_jobs.paths import ATTACHMENT_FILES, ATTACHMENT_POINTERS, ATTACHMENTS

_NO_ID_CHARACTER = re.compile(r"[^a-z0-9._-]")
_BASE36 = string.digits + string.ascii_lowercase


@dataclass(frozen=True)
class Take:
    """One audio attachment; `url` names the editor's local copy, not what is in git."""

    id: str
    url: str
    created_at: int
    is_deleted: bool
    created_by: str | None
    validators: frozenset[str]
    start_s: float | None
    end_s: float | None


def takes_of(cell: Cell) -> dict[str, Take]:
    """The audio attachments of a cell by id, in file order."""
    attachments = cell.metadata.get("attachments")
    items = attachments.items() if isinstance(attachments, dict) else ()
    found = ((take_id, _take(take_id, attachment)) for take_id, attachment in items)
    return {take_id: take for take_id, take in found if take is not None}


def _take(take_id: str, attachment: Any) -> Take | None:
    if isinstance(attachment, str):  # the oldest shape: nothing but the url
        attachment = {"url": attachment, "type": "audio"}
    if not isinstance(attachment, dict) or attachment.get("type", "audio") != "audio":
        return None
    url, created_by = attachment.get("url"), attachment.get("createdBy")
    return Take(
        id=take_id,
        url=url if isinstance(url, str) else "",
        created_at=milliseconds(attachment.get("createdAt")),
        is_deleted=attachment.get("isDeleted") is True,
        created_by=created_by if isinstance(created_by, str) else None,
        validators=validators(attachment.get("validatedBy")),
        start_s=_seconds(attachment.get("startTime")),
        end_s=_seconds(attachment.get("endTime")),
    )


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def selected_take(cell: Cell) -> Take | None:
    """The take a person chose, if it is still there; nothing chosen means none."""
    chosen = cell.metadata.get("selectedAudioId")
    take = takes_of(cell).get(chosen) if isinstance(chosen, str) else None
    return None if take is None or take.is_deleted else take


def is_selection_cleared(cell: Cell) -> bool:
    """Whether a person decided that none of the takes shall count."""
    return cell.metadata.get("selectedAudioId") == ""


class Pointers:
    """The pointer files of a revision, asked by the `url` of a take."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Keep the repository paths under `.project/attachments/`."""
        self._paths = frozenset(path for path in paths if path.startswith(ATTACHMENTS))

    @cached_property
    def _by_name(self) -> Mapping[str, list[str]]:
        by_name: defaultdict[str, list[str]] = defaultdict(list)
        for path in self._paths:
            if path.startswith(ATTACHMENT_POINTERS):
                by_name[path.rsplit("/", 1)[-1]].append(path)
        return by_name

    def find(self, url: str) -> str | None:
        """The path that holds the pointer (or, committed by mistake, the audio) of a url."""
        normalized = normalized_url(url)
        if normalized is None:
            return None
        for candidate in pointer_candidates(normalized):
            if candidate in self._paths:
                return candidate
        same_name = self._by_name.get(normalized.rsplit("/", 1)[-1], [])
        return same_name[0] if len(same_name) == 1 else None


def normalized_url(url: str) -> str | None:
    """A take's url in today's form, `.project/attachments/files/…`; None if it is not in the project.

    Older ones name `pointers/`, lack the folder, have backslashes or a machine's absolute path.
    """
    path = url.replace("\\", "/")
    start = path.rfind(ATTACHMENTS)
    if start < 0 or "://" in path or path.startswith("data:") or ".." in path.split("/"):
        return None
    rest = path[start:].removeprefix(ATTACHMENTS)
    rest = rest.removeprefix("files/").removeprefix("pointers/")
    return ATTACHMENT_FILES + rest


def pointer_candidates(normalized: str) -> tuple[str, ...]:
    """Where the pointer of a normalized url may be, the likeliest place first."""
    rest = normalized.removeprefix(ATTACHMENT_FILES)
    return (ATTACHMENT_POINTERS + rest, normalized, ATTACHMENTS + rest)


def segment_of(notebook_path: str) -> str:
    """The folder that new takes of a notebook go to: the file's base name."""
    return PurePosixPath(notebook_path).stem


def take_url(notebook_path: str, take_id: str, extension: str) -> str:
    """The url of a new take."""
    return f"{ATTACHMENT_FILES}{segment_of(notebook_path)}/{take_id}.{extension}"


def pointer_path(url: str) -> str:
    """The pointer file in git that belongs to the url of a new take."""
    return ATTACHMENT_POINTERS + url.removeprefix(ATTACHMENT_FILES)


def take_id_prefix(cell_id: str, notebook_path: str, job_id: str, submitted_at_ms: int) -> str:
    """The part of a take's id that is the same for every attempt of a job at a cell.

    Shaped as the editor's recorder does: `audio-<cell>-<ms>-<random>`, but nothing in it is random.
    """
    cell = _NO_ID_CHARACTER.sub("-", cell_id.lower())
    return f"audio-{cell}-{submitted_at_ms}-{_digest(f'{notebook_path}|{cell_id}|{job_id}', 5)}"


def take_id_of(prefix: str, oid: str) -> str:
    """The id of a take with this content, so that no pointer path is ever used for other bytes."""
    return prefix + _digest(oid, 4)


def _digest(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest())
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 36)
        digits.append(_BASE36[digit])
    return "".join(digits)
