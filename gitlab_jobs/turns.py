"""Whose turn it is when a place is free: projects take turns, however many jobs each has waiting.

    fewest jobs running here ─► longest since its last claim here ─► the job's own place in the queue

Within a project, and among projects whose turn is equal, the scanner's order holds: date of submission, a
point of priority counting as an hour of waiting. Pure; remembers claims, reads no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from gitlab_jobs.scanner import Candidate
from gitlab_jobs.store import ProjectRef


class Turns:
    """Remembers which project was served when."""

    def __init__(self) -> None:
        """Nobody has had a turn yet."""
        self._last: dict[str, int] = {}
        self._claims = 0

    def note_claim(self, project: ProjectRef) -> None:
        """A job of this project has been taken."""
        self._claims += 1
        self._last[project.id] = self._claims

    def choose(
        self, candidates: Iterable[Candidate], running: Collection[ProjectRef]
    ) -> Iterator[Candidate]:
        """Yield candidates, the next one chosen only when it is asked for.

        Args:
            candidates: in the scanner's order.
            running: the projects of all jobs under way, one entry a job; may change between two steps.
        """
        waiting: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            waiting.setdefault(candidate.project.id, []).append(candidate)
        # Dictionaries keep the order of the first candidates, which settles what is equal otherwise.
        while waiting:
            busy = Counter(project.id for project in running)
            chosen = min(waiting, key=lambda project: (busy[project], self._last.get(project, 0)))
            queue = waiting[chosen]
            yield queue.pop(0)
            if not queue:
                del waiting[chosen]
