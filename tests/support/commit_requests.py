"""Actions of the commits API as a client writes them, and the refusals they meet."""

from __future__ import annotations

from typing import Any

import requests

COMMITS = "/api/v4/projects/{id}/repository/commits"
EXISTS = "A file with this name already exists"
MISSING = "A file with this name doesn't exist"


def create(path: str, content: str = "new", **more: Any) -> dict[str, Any]:
    """Return a create action."""
    return {"action": "create", "file_path": path, "content": content, **more}


def update(path: str, content: str = "changed", **more: Any) -> dict[str, Any]:
    """Return an update action."""
    return {"action": "update", "file_path": path, "content": content, **more}


def move(previous_path: str, path: str, **more: Any) -> dict[str, Any]:
    """Return a move action."""
    return {"action": "move", "previous_path": previous_path, "file_path": path, **more}


def delete(path: str, **more: Any) -> dict[str, Any]:
    """Return a delete action."""
    return {"action": "delete", "file_path": path, **more}


def chmod(path: str, *, executable: bool) -> dict[str, Any]:
    """Return a chmod action."""
    return {"action": "chmod", "file_path": path, "execute_filemode": executable}


def refused(answer: requests.Response, message: str, status: int = 400) -> bool:
    """Say whether an answer is this refusal."""
    return (answer.status_code, answer.json()) == (status, {"message": message})
