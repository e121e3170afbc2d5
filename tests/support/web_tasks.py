"""The stages of a worker whose uploads have no names, and that a test can hold in the middle."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from support.batch_tasks import Say


class LookInside:
    """A recording is what stands in it: bad ones cannot be read, deadly ones take the process along."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def run(self, told: dict[str, Any]) -> dict[str, Any]:
        """Look at a recording."""
        (file,) = told["item"]["pack"]
        text = Path(file["path"]).read_text("utf-8")
        if "deadly" in text:
            os.abort()
        if "bad" in text:
            failed = {"code": "AUDIO_UNREADABLE", "message": "it is bad"}
            return {"values": {"pack": [{"failed": failed}]}}
        Path(told["folder"], "sound").write_text(text, "utf-8")
        return {"values": {"pack": [{"audio": "sound", "seconds": 2.0}]}}


class TellApart:
    """Somebody speaks in the first second, somebody else in the second one."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def run(self, told: dict[str, Any]) -> dict[str, Any]:
        """Tell the turns."""
        turns = [
            {"start_s": 0.0, "end_s": 1.0, "speaker": "A"},
            {"start_s": 1.0, "end_s": 2.0, "speaker": "B"},
        ]
        Path(told["folder"], "turns").write_text(json.dumps(turns), "utf-8")
        return {"values": {"pack": [{"turns": "turns"}]}}


class SayWhenLet(Say):
    """Says nothing while the file `hold` lies beside the diary; notes what it was told, and when it began."""

    def run(self, told: dict[str, Any]) -> dict[str, Any]:
        decoded = told["stages"]["decode"]
        for file in decoded["values"]["pack"]:
            if "audio" in file:
                text = Path(decoded["folder"], file["audio"]).read_text("utf-8")
                self._note(f"began {text} {json.dumps(told['wishes'])}")
        while self._diary.with_name("hold").exists():
            time.sleep(0.01)
        return super().run(told)
