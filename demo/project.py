"""Makes the demo's Codex project from speech clips, in the editor's own format.

Four notebooks: XXA has text and recordings (a model can learn from it); XXB and XXC have recordings
without text; XXD has text without recordings. One locked, one deleted and two paratext cells must be left alone. Takes are what teams
really have: WebM, Ogg, MP3, and an MP3 whose name says .m4a. Knows no server; licences of the clips:
`SOURCES.md` beside them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.audio.decode import decode
from pipelines.audio.encode import encode

CREATED_MS = 1_773_129_600_000
"""10 March 2026, 08:00 UTC: every time in the project counts on from here."""
MINUTE_MS = 60_000
AUTHOR = "translator"
CLIP_RATE_HZ = 24_000

GIT_ATTRIBUTES = "".join(
    f"# {title}\n"
    + "\n".join(f"*.{e} filter=lfs diff=lfs merge=lfs -text" for e in extensions)
    + tail
    for title, extensions, tail in (
        ("Audio files", ("wav", "mp3", "m4a", "ogg", "webm"), "\n\n"),
        ("Video files", ("mp4", "avi", "mov", "mkv"), "\n\n"),
        ("Image files over 1MB should use LFS", ("jpg", "jpeg", "png"), ""),
    )
)
GIT_IGNORE = ".project/attachments/files/**\n.project/localProjectSettings.json\n"


@dataclass(frozen=True, slots=True)
class Unspoken:
    """A verse that nobody has recorded."""

    text: str


@dataclass(frozen=True, slots=True)
class Verse:
    """One recording; a cell without text is left to be transcribed."""

    clip: str
    has_text: bool = False
    audio_format: str = "webm"
    suffix: str = ""
    flags: tuple[str, ...] = ()


NOTEBOOKS: dict[str, tuple[str, tuple[Verse | Unspoken, ...]]] = {
    "XXA": (
        "Of printing",
        tuple(Verse(f"LJ001-{number:04}", has_text=True) for number in range(1, 13)),
    ),
    "XXB": (
        "Voices",
        (
            Verse("jfk_inaugural"),
            Verse("austen_0870"),
            Verse("austen_0880", audio_format="mp3", suffix=".m4a"),
            Verse("austen_0890"),
            Verse("austen_0920"),
            Verse("austen_0930", audio_format="ogg"),
            Verse("LJ001-0002", flags=("locked",)),
            Verse("LJ001-0008", flags=("deleted",)),
        ),
    ),
    "XXC": (
        "Of printing, read again",
        tuple(Verse(f"LJ001-{number:04}", audio_format="mp3") for number in (2, 4, 6, 11)),
    ),
    "XXD": (
        "Of printing, not yet read",
        (
            Unspoken("the block books have never been surpassed."),
            Unspoken("the true printed book is modern, and of the first importance in form."),
            Unspoken("<p>it is a <em>fine</em> example of the form.</p>"),
            Unspoken("2 of the books are fine."),
            Unspoken("the 15th book was printed first."),
        ),
    ),
}


def make_project(clips_dir: Path, output_dir: Path) -> None:
    """Write the whole project."""
    _write(output_dir / ".gitattributes", GIT_ATTRIBUTES)
    _write(output_dir / ".gitignore", GIT_IGNORE)
    _write(output_dir / "metadata.json", json.dumps(_metadata(), indent=4, ensure_ascii=False))
    for book, (title, verses) in NOTEBOOKS.items():
        notebook = {
            "cells": list(_cells(book, title, verses, clips_dir, output_dir)),
            "metadata": {
                "id": book,
                "originalName": book,
                "sourceCreatedAt": "2026-03-10T08:00:00.000Z",
                "corpusMarker": "Other",
                "fileDisplayName": title,
                "textDirection": "ltr",
                "navigation": [],
            },
        }
        text = json.dumps(notebook, indent=2, ensure_ascii=False) + "\n"
        _write(output_dir / "files" / "target" / f"{book}.codex", text)


def transcripts(clips_dir: Path) -> dict[str, str]:
    """What is said in each clip, by the clip's name."""
    listed = json.loads((clips_dir / "transcripts.json").read_text(encoding="utf-8"))
    return {Path(clip["file"]).stem: clip["text"] for clip in listed if clip["text"]}


def cell_id(reference: str) -> str:
    """The id that the editor derives from a reference: SHA-256 in the shape of a UUID."""
    digest = hashlib.sha256(reference.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def _cells(
    book: str, title: str, verses: tuple[Verse | Unspoken, ...], clips_dir: Path, output_dir: Path
) -> Iterator[dict[str, Any]]:
    yield _plain_cell(cell_id(f"{book} 1"), "milestone", f"{title} 1")
    header = _plain_cell(f"{cell_id(f'{book} 1:1')}:paratext-{CREATED_MS}-demo", "paratext", title)
    header["metadata"]["parentId"] = cell_id(f"{book} 1:1")
    yield header
    for number, verse in enumerate(verses, start=1):
        if isinstance(verse, Unspoken):
            yield _text_cell(book, number, verse.text)
        else:
            yield _verse_cell(book, number, verse, clips_dir, output_dir)


def _plain_cell(identity: str, kind: str, value: str) -> dict[str, Any]:
    edits = [_edit(value, CREATED_MS, "initial-import")]
    return {
        "kind": 2,
        "languageId": "html",
        "value": value,
        "metadata": {"id": identity, "type": kind, "data": {}, "edits": edits},
    }


def _verse_cell(
    book: str, number: int, verse: Verse, clips_dir: Path, output_dir: Path
) -> dict[str, Any]:
    cell = _text_cell(book, number, transcripts(clips_dir)[verse.clip] if verse.has_text else "")
    metadata = cell["metadata"]
    typed_ms = CREATED_MS + number * MINUTE_MS
    take_id = f"audio-{metadata['id']}-{typed_ms + 30_000}-{book.lower()}{number}"
    take = _record(book, take_id, verse, clips_dir, output_dir)
    metadata["attachments"] = {take_id: take}
    metadata["selectedAudioId"] = take_id
    metadata["selectionTimestamp"] = take["createdAt"]
    if "locked" in verse.flags:
        metadata["isLocked"] = True
    if "deleted" in verse.flags:
        metadata["data"]["deleted"] = True
    return cell


def _text_cell(book: str, number: int, text: str) -> dict[str, Any]:
    reference = f"{book} 1:{number}"
    typed_ms = CREATED_MS + number * MINUTE_MS
    metadata = {
        "id": cell_id(reference),
        "type": "text",
        "data": {"globalReferences": [reference]},
        "edits": [_edit(text, typed_ms, "user-edit")] if text else [],
        "cellLabel": str(number),
    }
    return {"kind": 2, "languageId": "html", "value": text, "metadata": metadata}


def _record(
    book: str, take_id: str, verse: Verse, clips_dir: Path, output_dir: Path
) -> dict[str, Any]:
    """Encode a clip into the project; the editor's misnamed extensions occur here as in the wild."""
    extension = verse.suffix or f".{verse.audio_format}"
    name = f"{book}/{take_id}{extension}"
    path = output_dir / ".project" / "attachments" / "pointers" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = decode(clips_dir / f"{verse.clip}.flac", CLIP_RATE_HZ)
    encoded = encode(clip.samples, CLIP_RATE_HZ, path, verse.audio_format)
    created_ms = int(take_id.split("-")[-2])
    return {
        "url": f".project/attachments/files/{name}",
        "type": "audio",
        "createdAt": created_ms,
        "updatedAt": created_ms,
        "isDeleted": False,
        "createdBy": AUTHOR,
        "metadata": {
            "mimeType": encoded.mime_type,
            "sizeBytes": path.stat().st_size,
            "sampleRate": encoded.sample_rate_hz,
            "channels": encoded.channels,
            "durationSec": encoded.duration_s,
        },
    }


def _edit(value: str, timestamp: int, kind: str) -> dict[str, Any]:
    validated = {
        "username": AUTHOR,
        "creationTimestamp": timestamp,
        "updatedTimestamp": timestamp,
        "isDeleted": False,
    }
    return {
        "editMap": ["value"],
        "value": value,
        "timestamp": timestamp,
        "type": kind,
        "author": AUTHOR,
        "validatedBy": [validated] if kind == "user-edit" else [],
    }


def _metadata() -> dict[str, Any]:
    english = {"name": {"en": "English"}, "tag": "eng", "refName": "English"}
    return {
        "format": "scripture burrito",
        "projectName": "Demo",
        "projectId": "scriptoriumdemo00001",
        "meta": {
            "version": "0.0.0",
            "category": "Translation",
            "generator": {"softwareName": "Codex Editor", "softwareVersion": "0.32.0"},
            "defaultLocale": "en",
            "dateCreated": "Tue Mar 10 2026",
            "normalization": "NFC",
            "validationCount": 1,
            "validationCountAudio": 1,
        },
        "languages": [
            {**english, "projectStatus": "source"},
            {**english, "projectStatus": "target"},
        ],
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
