"""A journal of publications that forgets with the process: for what must hold without a disk."""

from __future__ import annotations

from gitlab_jobs.publication import Publication


class MemoryJournal:
    """What was noted and not settled, by mark."""

    def __init__(self) -> None:
        self.kept: dict[str, Publication] = {}

    def note(self, publication: Publication) -> None:
        """Keep it."""
        self.kept[publication.mark] = publication

    def settle(self, publication: Publication) -> None:
        """Forget it."""
        self.kept.pop(publication.mark, None)

    def pending(self) -> list[Publication]:
        """What was kept and not forgotten."""
        return list(self.kept.values())
