"""The fresh slot: a new child for every item, so that every byte comes back with its exit."""

from __future__ import annotations

from collections.abc import Callable

from runner.child_process import ChildProcess
from runner.errors import SlotDied, TaskTimeout
from runner.frames import FrameError, JsonObject
from runner.peak import Peak
from runner.slot import SlotSpec, failure_of
from runner.verdict import Verdict


class FreshSlot:
    """Starts, feeds and awaits one child per item."""

    def __init__(self, spec: SlotSpec) -> None:
        self._spec = spec
        self._child: ChildProcess | None = None
        self._peak = Peak()
        self._is_killed = False

    def load(self, on_spawned: Callable[[], None]) -> None:
        """Nothing is kept, so nothing is loaded."""
        on_spawned()

    def run(self, item: JsonObject, timeout_s: float) -> JsonObject:
        """Run one item in a child of its own."""
        spec = self._spec
        payload = {**spec.payload(), "item": item}
        child = spec.child("run_once", payload, _no_requests, _ignore, _nothing)
        try:
            child.start()
        except (OSError, FrameError) as error:
            raise SlotDied(Verdict.INTERNAL, f"no process could be started: {error}") from error
        self._child = child
        if self._is_killed:
            child.kill("closed")
        try:
            ended = child.wait(timeout_s)
            if ended is None:
                child.kill("timeout")
                child.wait(None)
                raise TaskTimeout(timeout_s)
        finally:
            self._child = None
        if ended.verdict is Verdict.SUCCEEDED and ended.result is not None:
            self._peak |= Peak.from_json(ended.result["peak"])
            output: JsonObject = ended.result["output"]
            return output
        raise failure_of(ended)

    def recycle_reason(self) -> str | None:
        """Every item is a replacement already."""
        return None

    def unload(self) -> None:
        """Nothing stays between items."""

    def drop(self) -> None:
        """End the current item's child."""
        if self._child is not None:
            self._child.kill("dropped")

    def kill(self) -> None:
        """End the current item's child, and any that would follow."""
        self._is_killed = True
        if self._child is not None:
            self._child.kill("closed")

    @property
    def pid(self) -> int | None:
        """The current item's child."""
        child = self._child
        return child.pid if child is not None else None

    @property
    def rss_bytes(self) -> int:
        """Unknown until the child ends."""
        return 0

    @property
    def peak(self) -> Peak:
        """Of all its children that came to their end."""
        return self._peak


def _no_requests(name: str, _payload: JsonObject) -> JsonObject:
    raise LookupError(f"a task has nobody to ask for {name}")


def _ignore(fields: JsonObject) -> None:
    pass


def _nothing() -> None:
    pass
