"""The loss curve as `training_metrics.csv`, in the form that the editor's graph reads.

Plain commas, no quoting, a blank cell where there is no value; at most `MAX_ROWS` rows, because the
graph fails on very long files. Complete after every call, so that it can be uploaded at any time.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

MAX_ROWS = 8_000


class MetricsLog:
    """Rows by epoch; every second older row is dropped whenever the file would become too long."""

    def __init__(self, path: Path, columns: Sequence[str], *, max_rows: int = MAX_ROWS) -> None:
        """Start with what the file holds; `columns` come after `epoch`."""
        self._path = path
        self._columns = tuple(columns)
        self._max_rows = max_rows
        self._rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(encoding="ascii", newline="") as file:
                self._rows = list(csv.DictReader(file))

    @property
    def path(self) -> Path:
        """Where the rows are."""
        return self._path

    def cut_back(self, epoch: float) -> None:
        """Forget rows after an epoch: the run goes on from there and will write them again."""
        self._rows = [row for row in self._rows if float(row["epoch"]) <= epoch]
        self._write()

    def append(self, epoch: float, values: Mapping[str, float | None]) -> None:
        """Add a row; values that are missing or not finite become gaps."""
        row = {"epoch": f"{epoch:g}"}
        row.update({column: _cell(values.get(column)) for column in self._columns})
        self._rows.append(row)
        if len(self._rows) > self._max_rows:
            self._thin()
            self._write()
        elif not self._path.exists():
            self._write()
        else:
            with self._path.open("a", encoding="ascii", newline="") as file:
                self._writer(file).writerow(row)

    def _thin(self) -> None:
        """Keep every second row, and always the newest."""
        newest = self._rows[-1]
        self._rows = self._rows[:-1:2]
        self._rows.append(newest)

    def _write(self) -> None:
        temporary = self._path.with_name(f".{self._path.name}.part")
        with temporary.open("w", encoding="ascii", newline="") as file:
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(self._rows)
        temporary.replace(self._path)

    def _writer(self, file: TextIO) -> csv.DictWriter[str]:
        columns = ("epoch", *self._columns)
        return csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")


def _cell(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.6g}"
