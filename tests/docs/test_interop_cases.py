"""The table of interop cases names tests that exist, and has every case."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/interop-cases.md"
CASES = 56
_ROW = re.compile(r"\| (\d+) \| [^|]+ \| ([^|]+) \|")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_case_has_a_row() -> None:
    """Numbered from 1 to the last, none twice; each names a test or says why there is none."""
    rows = _rows()
    assert list(rows) == list(range(1, CASES + 1))
    assert all(_TEST.search(cell) or cell.startswith("not yet: ") for cell in rows.values())


def test_every_named_test_exists() -> None:
    """Renaming a test without the table fails here."""
    named = {pair for cell in _rows().values() for pair in _TEST.findall(cell)}
    missing = [f"{path}::{name}" for path, name in named if name not in _tests_in(ROOT / path)]
    assert not missing


def _rows() -> dict[int, str]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    found = [match for line in lines if (match := _ROW.fullmatch(line))]
    assert len(found) == len({match[1] for match in found})
    return {int(match[1]): match[2] for match in found}


def _tests_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
