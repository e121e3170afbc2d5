"""The editor's merge of two versions of a notebook, re-implemented from its published rules.

Two-way, by cell id, newest entry by wall clock (codex-editor, `resolveCodexCustomMerge`). The product
never merges; tests use this to show what becomes of its changes. Left out: re-ordering of cells and the
matching of timed cells, which do not touch what is tested.
"""

from __future__ import annotations

import copy
from typing import Any

Json = dict[str, Any]

_TIE = {"migration": 3, "user-edit": 2, "initial-import": 0}
_APPLIED = (["value"], ["metadata", "cellLabel"], ["metadata", "isLocked"])


def merge_notebooks(local: Json, remote: Json) -> Json:
    """What a sync makes of the user's version and the remote one."""
    remote_cells = {_id(cell): cell for cell in remote["cells"]}
    local_ids = {_id(cell) for cell in local["cells"]}
    cells = [
        _merge_cell(cell, remote_cells[_id(cell)]) if _id(cell) in remote_cells else cell
        for cell in local["cells"]
    ]
    cells += [cell for cell in remote["cells"] if _id(cell) not in local_ids]
    metadata = {"edits": [], **local.get("metadata", {})}
    return copy.deepcopy({"cells": cells, "metadata": metadata})


def _id(cell: Json) -> str:
    return str(cell["metadata"]["id"])


def _merge_cell(local: Json, remote: Json) -> Json:
    mine, theirs = local["metadata"], remote["metadata"]
    merged = copy.deepcopy({**remote, **local})
    metadata = copy.deepcopy({**theirs, **mine})
    metadata["data"] = {**theirs.get("data", {}), **mine.get("data", {})}
    metadata["edits"] = _merge_edits(mine.get("edits", []), theirs.get("edits", []))
    merged["metadata"] = metadata
    for entry in _newest_by_path(metadata["edits"]):
        _apply(merged, entry["editMap"], entry["value"])
    if "attachments" in mine or "attachments" in theirs:
        metadata["attachments"] = _merge_attachments(
            mine.get("attachments", {}), theirs.get("attachments", {})
        )
    _merge_selection(metadata, mine, theirs)
    return merged


def _merge_edits(mine: list[Json], theirs: list[Json]) -> list[Json]:
    merged: dict[tuple[int, str, str], Json] = {}
    for entry in [*mine, *theirs]:
        if not isinstance(entry.get("editMap"), list):
            continue
        value = entry["value"] if not isinstance(entry["value"], dict) else ""
        key = (entry["timestamp"], ".".join(entry["editMap"]), repr(value))
        known = merged.setdefault(key, copy.deepcopy(entry))
        users = {user["username"]: user for user in known["validatedBy"]}
        for user in entry["validatedBy"]:
            current = users.get(user["username"])
            if current is None or user["updatedTimestamp"] > current["updatedTimestamp"]:
                users[user["username"]] = user
        known["validatedBy"] = list(users.values())
    return sorted(merged.values(), key=lambda entry: entry["timestamp"])


def _newest_by_path(edits: list[Json]) -> list[Json]:
    newest: dict[str, Json] = {}
    for entry in edits:
        if entry.get("preview"):
            continue
        path = ".".join(entry["editMap"])
        if path not in newest or _strength(entry) > _strength(newest[path]):
            newest[path] = entry
    return list(newest.values())


def _strength(entry: Json) -> tuple[int, int]:
    return (entry["timestamp"], _TIE.get(entry["type"], 1))


def _apply(cell: Json, path: list[str], value: Any) -> None:
    if path not in _APPLIED and path[:2] != ["metadata", "data"]:
        return
    place = cell
    for part in path[:-1]:
        place = place.setdefault(part, {})
    place[path[-1]] = value


def _merge_attachments(mine: Json, theirs: Json) -> Json:
    merged = copy.deepcopy(mine)
    for key, attachment in theirs.items():
        if key not in merged or attachment.get("updatedAt", 0) > merged[key].get("updatedAt", 0):
            merged[key] = copy.deepcopy(attachment)
    return merged


def _merge_selection(metadata: Json, mine: Json, theirs: Json) -> None:
    both = "selectedAudioId" in mine and "selectedAudioId" in theirs
    theirs_newer = theirs.get("selectionTimestamp", 0) > mine.get("selectionTimestamp", 0)
    winner = theirs if (both and theirs_newer) or "selectedAudioId" not in mine else mine
    for key in ("selectedAudioId", "selectionTimestamp"):
        metadata.pop(key, None)
        if key in winner:
            metadata[key] = winner[key]
