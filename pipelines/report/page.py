"""Parts → one HTML file: readable in any browser and by any screen reader, offline, for ever.

Nothing on a page runs and nothing is fetched: no script, every text escaped, a policy in the page itself
that forbids both. Knows no job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.report.parts import Part
from pipelines.whole_file import write_whole


@dataclass(frozen=True, slots=True)
class Report:
    """A page: what it is about, what came of it, and the parts in reading order."""

    title: str
    lead: str
    parts: Sequence[Part]


def render(report: Report) -> str:
    """Return the page as HTML."""
    return _environment().get_template("report.html").render(report=report)


def write_report(path: Path, report: Report) -> Path:
    """Write the page whole or not at all; returns the path."""
    return write_whole(path, render(report))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pipelines.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
