"""Stages of a batch that cost what a test says, and write down what they did."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Told = dict[str, Any]


class Look:
    """Decodes nothing: a file's bytes count as its sound."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def run(self, told: Told) -> Told:
        """Let "bad" files fail, and "deadly" ones take the process along."""
        pack = []
        for number, file in enumerate(told["item"]["pack"]):
            name = Path(file["path"]).name
            if "deadly" in name:
                os.abort()
            if "bad" in name:
                pack.append({"failed": {"code": "AUDIO_UNREADABLE", "message": "it is bad"}})
                continue
            sound = Path(told["folder"], f"{number}.pcm")
            sound.write_bytes(Path(file["path"]).read_bytes())
            pack.append({"audio": sound.name, "seconds": 2.0})
        return {"values": {"pack": pack}}


class Say:
    """Transcribes by saying what stands in the file; `diary` gets a line per file, with its times."""

    def __init__(self, diary: str, sleep_s: float = 0.0) -> None:
        self._diary = Path(diary)
        self._sleep_s = sleep_s

    def setup(self, device: str) -> None:
        """One line per load."""
        self._note(f"load {os.getpid()}")

    def run(self, told: Told) -> Told:
        """Take the time that was asked for."""
        decoded = told["stages"]["decode"]
        pack = []
        for number, file in enumerate(decoded["values"]["pack"]):
            if "failed" in file:
                pack.append(file)
                continue
            begun = time.monotonic()
            time.sleep(self._sleep_s)
            text = (
                Path(decoded["folder"], file["audio"])
                .read_bytes()[:80]
                .decode("utf-8", "ignore")
                .strip("\0\n ")
            )
            written = Path(told["folder"], f"{number}.json")
            written.write_text(json.dumps(_transcript(text)), encoding="utf-8")
            pack.append({"transcript": written.name})
            self._note(f"said {begun} {time.monotonic()} {text}")
        return {"values": {"pack": pack, "engine": {"engine": "say", "model": "none"}}}

    def _note(self, line: str) -> None:
        with self._diary.open("a", encoding="utf-8") as diary:
            diary.write(line + "\n")


def _transcript(text: str) -> Told:
    """As plain data: a process that only says must not load what listens."""
    segment = {"start_s": 0.1, "end_s": 1.9, "text": text, "confidence": 0.9}
    return {
        "text": text, "segments": [segment], "language": "en", "language_probability": 1.0,
        "duration_s": 2.0, "confidence": 0.9, "flags": [],
    }  # fmt: skip
