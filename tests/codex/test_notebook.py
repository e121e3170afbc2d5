"""Loading and saving notebooks without changing a byte that was not meant."""

from __future__ import annotations

import difflib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitlab_jobs.codex.notebook import NotebookError, load_notebook

SAMPLES = sorted((Path(__file__).parents[1] / "data" / "codex").glob("*.codex"))
samples = pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)


@samples
def test_every_sample_is_saved_as_it_was_read(sample: Path) -> None:
    """Indent 2 or 4, with or without final newline: the same bytes."""
    content = sample.read_bytes()
    assert load_notebook("x", content).save({}) == content


@samples
def test_writing_a_cell_unchanged_changes_nothing(sample: Path) -> None:
    """Our writer spells JSON as each file's own writer did."""
    content = sample.read_bytes()
    book = load_notebook("x", content)
    assert book.save(dict(enumerate(book.cells))) == content


@samples
def test_a_new_value_is_a_diff_of_one_line(sample: Path) -> None:
    """Nothing around a changed value moves."""
    content = sample.read_bytes()
    book = load_notebook("x", content)
    saved = book.save({2: {**book.cells[2], "value": "new <b>é</b> \u2028 \x7f \t 😀"}})
    before, after = content.decode().split("\n"), saved.decode().split("\n")
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert len(changed) == 2
    assert json.loads(saved)["cells"][2]["value"] == "new <b>é</b> \u2028 \x7f \t 😀"


def cells_json(cell: str) -> bytes:
    """A notebook with one cell, spelled as given."""
    return f'{{\n  "cells": [\n    {cell}\n  ],\n  "metadata": {{}}\n}}'.encode()


@pytest.mark.parametrize(
    "number",
    ["4", "4.0", "50.60", "1e-7", "0.00005", "1E+2", "10000000000000000", "-0", "-0.0", "1e400"],
)
def test_numbers_keep_their_spelling(number: str) -> None:
    """JavaScript and Python spell floats differently; what we did not make we do not respell."""
    content = cells_json(f'{{\n      "startTime": {number}\n    }}')
    book = load_notebook("x", content)
    assert book.save({0: book.cells[0]}) == content


@pytest.mark.parametrize(
    ("number", "spelling"),
    [
        (4.0, "4"), (6.12, "6.12"), (1e-7, "1e-7"), (0.00005, "0.00005"), (1e16, "10000000000000000"),
        (1e21, "1e+21"), (1.5e-6, "0.0000015"), (-2.5, "-2.5"), (1.25e300, "1.25e+300"), (True, "true"),
    ],
)  # fmt: skip
def test_our_own_numbers_are_spelled_as_javascript_does(number: float, spelling: str) -> None:
    """Otherwise the editor's next save would change them back."""
    saved = load_notebook("x", b'{"cells":[{}]}').save({0: {"n": number}})
    assert saved == b'{"cells":[{"n":%s}]}' % spelling.encode()


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{\n  "cells": [\n    {\n      "value": "a"\n    }\n  ]\n}\n',
        b'{\r\n  "cells": [\r\n    {\r\n      "value": "a"\r\n    }\r\n  ]\r\n}\r\n',
        b'{\n\t"cells": [\n\t\t{\n\t\t\t"value": "a"\n\t\t}\n\t]\n}',
        b'{"cells":[{"value":"a"}],"metadata":{"x":1}}',
        b'{\n  "metadata": {},\n  "cells": [\n    {\n      "value": "a"\n    }\n  ],\n  "x": [1, 2]\n}\n',
    ],
    ids=["byte-order mark", "CRLF", "tabs", "one line", "metadata first"],
)
def test_oddities_of_a_file_stay(content: bytes) -> None:
    """Both around a changed cell and inside it."""
    book = load_notebook("x", content)
    assert book.save({}) == content
    assert book.save({0: book.cells[0]}) == content
    assert book.save({0: {"value": "b"}}) == content.replace(b'"a"', b'"b"')


def test_escapes_that_have_no_other_form_stay() -> None:
    """Half of an emoji cannot be written as UTF-8, so JavaScript escapes it and so do we."""
    content = cells_json('{\n      "value": "\\ud83d \\u0001 \\\\ \\" \\n é 😀"\n    }')
    book = load_notebook("x", content)
    assert book.cells[0]["value"] == '\ud83d \x01 \\ " \n é 😀'
    assert book.save({0: book.cells[0]}) == content


def test_cells_written_on_one_line_stay_on_one_line() -> None:
    """A stranger's formatting of the other cells is not ours to improve."""
    content = b'{\n "cells": [ {"value": "a"},\n  {"value" : "b" } ]\n}'
    saved = load_notebook("x", content).save({0: {"value": "c"}})
    assert saved == b'{\n "cells": [ {"value":"c"},\n  {"value" : "b" } ]\n}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"cells": {}}',
        b'{"cells": [}',
        b'{"cells": [] "metadata": {}}',
        b'{"cells": []} x',
        b'{"cells": [NaN]}',
        b'{"cells": [1' + b"0" * 5000 + b"]}",
        b'{"cells": [' + b"[" * 100_000,
        b"\xff\xfe",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        b'<<<<<<< HEAD\n{"cells": []}',
        b'{7: 1, "cells": []}',
    ],
)
def test_what_is_no_notebook_is_an_error_and_never_empty(content: bytes) -> None:
    """The message names the file."""
    with pytest.raises(NotebookError, match="MAT"):
        load_notebook("files/target/MAT.codex", content)


def test_a_notebook_without_metadata_has_none() -> None:
    """Legacy files lack it."""
    book = load_notebook("x", b'{"cells": []}')
    assert (book.cells, book.metadata, book.keeps_source_tags) == ((), {}, False)
    assert load_notebook("x", b'{"cells": [], "metadata": null}').metadata == {}


def test_a_cell_of_endless_depth_is_not_written() -> None:
    """Only a mistake of ours could make one."""
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(NotebookError, match="deeper"):
        load_notebook("x", b'{"cells": [{}]}').save({0: {"a": deep}})


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(plain, min_size=1, max_size=5), st.sampled_from([None, 1, 2, 4, "\t"]), plain)
def test_any_json_survives_a_change_beside_it(cells: list[Any], indent: Any, new: Any) -> None:
    """One cell is replaced, every other value is the same, for any formatting."""
    text = json.dumps({"cells": cells, "metadata": {"cells": [1]}}, indent=indent)
    saved = json.loads(load_notebook("x", text.encode()).save({0: {"x": new}}))
    assert saved == {"cells": [{"x": new}, *cells[1:]], "metadata": {"cells": [1]}}


@given(plain)
def test_our_writer_agrees_with_the_library(value: Any) -> None:
    """Line by line as Python's own writer, but for the spelling of floats."""
    book = load_notebook("x", b'{\n  "cells": [\n    {}\n  ]\n}')
    saved = json.loads(book.save({0: {"x": value}}))
    assert saved["cells"][0]["x"] == value or math.isclose(saved["cells"][0]["x"], value)
