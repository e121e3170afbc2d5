"""When a training will be over, judged by the epochs of this attempt. Knows nothing but numbers and times."""

from __future__ import annotations

from datetime import datetime, timedelta


class Forecast:
    """Takes note of completed epochs as they come; the first one it hears of is where it counts from."""

    def __init__(self, epochs: int | None) -> None:
        """`epochs` is how many the job asks for; None makes no forecast."""
        self._epochs = epochs
        self._first: tuple[int, datetime] | None = None
        self._last: tuple[int, datetime] | None = None

    def note(self, completed: int, now: datetime) -> None:
        """So many epochs are completed; a smaller number than before means that it started again."""
        if self._last is not None and completed == self._last[0]:
            return
        if self._first is None or completed < self._first[0]:
            self._first = (completed, now)
        self._last = (completed, now)

    @property
    def end(self) -> datetime | None:
        """The moment at which the last epoch should be completed, to the minute; None if unknown."""
        if self._epochs is None or self._first is None or self._last is None:
            return None
        (started, started_at), (completed, at) = self._first, self._last
        if completed <= started:
            return None
        end = at + (at - started_at) / (completed - started) * (self._epochs - completed)
        return (end + timedelta(seconds=59)).replace(second=0, microsecond=0)
