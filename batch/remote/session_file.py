"""Where a batch keeps the secrets of its session with a controller: a file of its own, for this user alone.

Not in the input folder, which others may read; one file per controller and state.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from runner.atomic import write_json


@dataclass(frozen=True, slots=True)
class Session:
    """What the controller gave us to know us again."""

    session: str
    csrf_token: str

    @property
    def headers(self) -> dict[str, str]:
        """What a request needs."""
        return {"Cookie": f"session={self.session}", "X-CSRF-Token": self.csrf_token}


def session_path(controller: str, state_path: Path) -> Path:
    """The file for a controller and a state."""
    told = f"{controller.rstrip('/')} {state_path.resolve()}"
    name = hashlib.sha256(told.encode()).hexdigest()[:16]
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home, "scriptorium", "sessions", f"{name}.json")


def read_session(path: Path) -> Session | None:
    """The session of an earlier run, if there is one."""
    try:
        return Session(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def write_session(path: Path, session: Session) -> None:
    """Keep a session for the next run."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        write_json(path, asdict(session))
    finally:
        os.umask(before)
