"""The tasks that `benchmarks.runner` gives to executors; each costs one known thing."""

from __future__ import annotations

import hashlib
import mmap
import os
import time
from typing import Any

Item = dict[str, Any]


class Work:
    """Keeps one core busy for as long as the item says, in hash iterations."""

    def __init__(self, load_s: float = 0.0) -> None:
        self._load_s = load_s

    def setup(self, device: str) -> None:
        """Wait as long as a model would load."""
        del device
        time.sleep(self._load_s)

    def run(self, item: Item) -> Item:
        """Hash, so many times, or crash; tells how long the bare loop took."""
        if item.get("crash"):
            os.abort()
        begun = time.perf_counter()
        for _ in range(item.get("times", 1)):
            burn(item.get("iterations", 0))
        return {"loop_s": time.perf_counter() - begun}


def burn(iterations: int) -> None:
    """Use one core; the time is proportional to the iterations."""
    if iterations:
        hashlib.pbkdf2_hmac("sha256", b"verse", b"salt", iterations)


class Speech:
    """Loads a small Whisper from disk, as a worker does, and says how long that took."""

    def __init__(self, model_dir: str) -> None:
        self._model_dir = model_dir
        self._load_s = 0.0

    def setup(self, device: str) -> None:
        """Import, then load; only the second part is the model's own."""
        del device
        from transformers import WhisperForConditionalGeneration

        begun = time.perf_counter()
        WhisperForConditionalGeneration.from_pretrained(self._model_dir)
        self._load_s = time.perf_counter() - begun

    def run(self, item: Item) -> Item:
        """Tell the model's own load time."""
        del item
        return {"load_s": self._load_s}


class Hold:
    """Fills memory for a moment, as models do: one in a stage, or several in one process."""

    def __init__(self, sizes_bytes: list[int]) -> None:
        self._sizes_bytes = sizes_bytes
        self._models: list[mmap.mmap] = []

    def setup(self, device: str) -> None:
        """Touch every page."""
        del device
        for size_bytes in self._sizes_bytes:
            model = mmap.mmap(-1, size_bytes)
            for offset in range(0, size_bytes, mmap.PAGESIZE):
                model[offset] = 1
            self._models.append(model)

    def run(self, item: Item) -> Item:
        """Stay long enough to be seen from outside."""
        del item
        time.sleep(0.3)
        return {}


class Both(Hold):
    """The same with all models in one process, one after the other for every item."""

    def run(self, item: Item) -> Item:
        """Stay as long as the stages would."""
        for _ in self._sizes_bytes:
            super().run(item)
        return {}
