"""Notebooks for tests: cells and takes in the editor's shape, with only the interesting part named."""

from __future__ import annotations

import json
from typing import Any

from gitlab_jobs.codex.notebook import Notebook, load_notebook
from gitlab_jobs.codex.takes import pointer_path

PATH = "files/target/MAT.codex"
SOURCE_CREATED = "2026-01-20T15:50:16.958Z"
SOURCE_CREATED_MS = 1768924216958
BOT = "gpu-bot"

Json = dict[str, Any]


def edit(value: str, at: int, *, kind: str = "user-edit", by: str = "alice", **more: Any) -> Json:
    """A text entry; a person's is validated by its author, a machine's by nobody."""
    confirmed = [
        {"username": by, "creationTimestamp": at, "updatedTimestamp": at, "isDeleted": False}
    ]
    return {
        "editMap": ["value"],
        "value": value,
        "timestamp": at,
        "type": kind,
        "author": by,
        "validatedBy": confirmed if kind == "user-edit" else [],
        **more,
    }


def take(take_id: str, at: int = 1000, **changes: Any) -> Json:
    """A recorded take, as `{id: attachment}`."""
    attachment = {
        "url": f".project/attachments/files/MAT/{take_id}.webm",
        "type": "audio",
        "createdAt": at,
        "updatedAt": at,
        "isDeleted": False,
        "createdBy": "alice",
        **changes,
    }
    return {take_id: attachment}


def cell(cell_id: str, value: str = "", *, ref: str | None = "", **metadata: Any) -> Json:
    """A text cell; its reference is MAT 1:<id> unless given, its history follows from its value."""
    references = [f"MAT 1:{cell_id}"] if ref == "" else [ref] if ref else []
    data = {"globalReferences": references, **metadata.pop("data", {})}
    edits = [edit(value, 500)] if value else []
    return {
        "kind": 2,
        "languageId": "html",
        "value": value,
        "metadata": {"type": "text", "id": cell_id, "data": data, "edits": edits, **metadata},
    }


def recorded(cell_id: str, value: str = "", **metadata: Any) -> Json:
    """A cell with one take, selected."""
    name = f"audio-{cell_id}"
    chosen = {"attachments": take(name), "selectedAudioId": name, "selectionTimestamp": 1001}
    return cell(cell_id, value, **{**chosen, **metadata})


def document(*cells: Json, **metadata: Any) -> Json:
    """A whole notebook as JSON."""
    return {
        "cells": list(cells),
        "metadata": {"id": "MAT", "sourceCreatedAt": SOURCE_CREATED, **metadata},
    }


def as_bytes(value: Json) -> bytes:
    """A notebook as the editor writes it."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def notebook(*cells: Json, path: str = PATH, **metadata: Any) -> Notebook:
    """A parsed notebook."""
    return load_notebook(path, as_bytes(document(*cells, **metadata)))


def pointers_of(*books: Notebook) -> list[str]:
    """The pointer path of every take in the notebooks, as after a complete sync."""
    return [
        pointer_path(attachment["url"])
        for book in books
        for json_cell in book.cells
        for attachment in json_cell["metadata"].get("attachments", {}).values()
        if attachment.get("url", "").startswith(".project/attachments/files/")
    ]
