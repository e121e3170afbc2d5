"""A report as a table that opens in any spreadsheet, in a form that nothing on the way changes.

A table and not JSON: the editor's sync rewrites JSON files that it does not know. Knows no job.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write tab-separated text; every value is taken for text by a spreadsheet."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, "excel-tab", lineterminator="\n")
        table.writerow(header)
        table.writerows([_no_formula(value) for value in row] for row in rows)


def _no_formula(value: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value
