"""Bounded reading and strictly portable writing of YAML."""

from __future__ import annotations

import contextlib
import io
import math
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gitlab_jobs.yaml_text import MAX_BYTES, MAX_DEPTH, YamlRefused, dump_yaml, load_yaml


def strict_1_2(content: bytes) -> Any:
    """Read as another implementation's YAML 1.2 parser does."""
    parser = YAML(typ="safe", pure=True)
    parser.version = (1, 2)
    return parser.load(io.BytesIO(content))


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
TRICKY = [
    "no", "Yes", "y", "N", "off", "True", "~", "null", "=", "<<", "NaN", ".inf", ".NaN", "+1", "1e3",
    "0o7", "0b1", "0x1F", "0777", "1.", ".5", "1_000", "12:30:45", "2026-03-10",
    "2026-03-10T08:00:00.000Z", "@x", "`y", "%z", "!t", "&a", "*b", "|", ">", "'", '"', "{", "[", "]",
    "---", "...", "--- x", "- x", "? y", "a:", ":a", "a: b", "a #b", "#c", "", " ", " a", "a ",
    "a\tb", "\ta", "a\nb", "\na", "a\n", "a\n\n", " a\nb", "a\r\nb", "a\u2028b", "\u0085", "\x1b[0m",
    "\ufeff", "\uffff", "\U0010ffff", "😀", "नमस्ते: १", "مرحبا #١", "x" * 300, "word " * 60,
]  # fmt: skip
tricky = st.sampled_from(TRICKY)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | tricky
)
documents = st.dictionaries(
    texts | tricky,
    st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(texts | tricky, inner, max_size=4)
        ),
        max_leaves=12,
    ),
    max_size=6,
)


@given(documents)
@example({"error_message": "a: b \"c\"\n\t'd' 😀 # e"})
def test_what_is_written_reads_the_same_everywhere(document: dict[str, Any]) -> None:
    """Our reader, a strict YAML 1.2 parser and a YAML 1.1 parser agree on every text."""
    written = dump_yaml(document)
    assert load_yaml(written) == document
    assert strict_1_2(written) == document
    assert yaml.safe_load(written) == document


@given(st.text("abc :-#'\"\n\t[]{},&*!|>%@`?~.0123456789<=_😀é", max_size=80))
@example("a: 1\t")
def test_both_parsers_give_the_same_result(text: str) -> None:
    """The fast parser is an implementation detail: what both accept, they read alike."""
    pure, fast = outcome(text, yaml.SafeLoader), outcome(text, yaml.CSafeLoader)
    assert pure in (fast, "refused")


def outcome(text: str, loader: Any) -> Any:
    """What reading gives, in a form that tells 1 from True and NaN equals itself."""
    try:
        value = load_yaml(text.encode(), loader)
    except YamlRefused:
        return "refused"
    return repr(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Nothing a repository contains raises anything but the one refusal."""
    with contextlib.suppress(YamlRefused):
        load_yaml(content)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x 1\nb: *x", "anchors"),
        ("a: *x", "anchors"),
        ("a: !!python/object:os.system 1", "tags"),
        ("a: !local 1", "tags"),
        ("a: !!str 1", "tags"),
        ("<<: {a: 1}", "merge keys"),
        ("a: 1\na: 2", "twice"),
        ("a: 1\n'a': 2", "twice"),
        ("? [a]\n: 1", "key"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("a: b: c", "not valid YAML"),
        ("a:\n\tb: 1", "not valid YAML"),
        ("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> x\n", "not valid YAML"),
        ("[" * (MAX_DEPTH + 1), "deeper"),
        ("[" * 100_000, "deeper"),
        ("a: '" + "x" * 70_000 + "'", "longer"),
        ("- 1\n" * 60_000, "more than"),
        ("#" * (MAX_BYTES + 1), "longer"),
    ],
)
def test_costly_or_ambiguous_text_is_refused(text: str, reason: str) -> None:
    """Each limit of the reader has its own words."""
    with pytest.raises(YamlRefused, match=reason):
        load_yaml(text.encode())


def test_documents_that_explode_are_refused_at_once() -> None:
    """A few hundred bytes that keep ordinary loaders busy for ever do not get that far."""
    aliases = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
    )
    merges = "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
    )
    for text in (aliases, merges):
        with pytest.raises(YamlRefused):
            load_yaml(text.encode())


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: \xe9", b"a: \x00", b"a: \x1b"])
def test_bytes_that_are_no_text_are_refused(content: bytes) -> None:
    """Neither other encodings nor control characters get in."""
    with pytest.raises(YamlRefused):
        load_yaml(content)


def test_plain_words_mean_what_the_editor_means() -> None:
    """YAML 1.2: `no` is a word, octal needs `0o`, a timestamp is text, a time is no number."""
    read = load_yaml(
        b"\xef\xbb\xbfa: no\nb: 0o17\nc: 0777\nd: 2026-03-10T08:00:00Z\ne: 1e3\nf: 12:30\n"
        b"g: ~\nh:\ni: .inf\nj: TRUE\nk: 1_000\nl: 0x1F\nm: 99999999999999999999\nn: -.5\n"
    )
    assert read == {
        "a": "no", "b": 15, "c": 777, "d": "2026-03-10T08:00:00Z", "e": 1000.0, "f": "12:30",
        "g": None, "h": None, "i": math.inf, "j": True, "k": "1_000", "l": 31,
        "m": 1e20, "n": -0.5,
    }  # fmt: skip


def test_an_empty_document_is_nothing() -> None:
    """An empty file is no error here; the manifest decides what it means."""
    assert load_yaml(b"") is None
    assert load_yaml(b"# only a comment\n") is None


class Scalar:
    """Stands for a scalar of an array library: knows how to become a plain number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def item(self) -> float:
        return self.value


class Colour(Enum):
    RED = "red"


def test_values_of_libraries_become_plain() -> None:
    """Array scalars, enums, tuples, sets and dates have a plain form; NaN is left out."""
    written = dump_yaml(
        {
            "loss": Scalar(0.5),
            "nan": math.nan,
            "inf": -math.inf,
            "array_nan": Scalar(math.nan),
            "list": [math.nan, 1],
            "colour": Colour.RED,
            "pair": (1, 2),
            "set": frozenset({"b", "a"}),
            "at": datetime(2026, 3, 10, 8, tzinfo=UTC),
            "surrogate": "a\ud800b",
        }
    )
    assert strict_1_2(written) == {
        "loss": 0.5,
        "list": [None, 1],
        "colour": "red",
        "pair": [1, 2],
        "set": ["a", "b"],
        "at": "2026-03-10T08:00:00+00:00",
        "surrogate": "a\ufffdb",
    }


def test_what_has_no_plain_form_is_a_mistake() -> None:
    """Objects and endless structures are a fault of ours, not of the file."""
    with pytest.raises(TypeError, match="no plain form"):
        dump_yaml({"a": object()})
    looped: list[Any] = []
    looped.append(looped)
    with pytest.raises(TypeError, match="nested"):
        dump_yaml({"a": looped})


def test_writing_looks_like_the_editors_own() -> None:
    """Same shape as the editor's manifests, so that diffs stay small."""
    document = {
        "version": 1,
        "jobs": [
            {
                "job_id": "mmkbv9xc_9buvreul07s",
                "name": "no",
                "submitted_at": "2026-03-10T08:08:00.000Z",
                "description": "Fine-tune, clean takes only " * 8 + "é",
                "training": {"include_verses": ["JHN 1:1", "5e7dadd4"]},
                "canceled": False,
            }
        ],
    }
    assert dump_yaml(document).decode() == (
        "version: 1\n"
        "jobs:\n"
        "  - job_id: mmkbv9xc_9buvreul07s\n"
        "    name: 'no'\n"
        "    submitted_at: '2026-03-10T08:08:00.000Z'\n"
        f"    description: {'Fine-tune, clean takes only ' * 8}é\n"
        "    training:\n"
        "      include_verses:\n"
        "        - JHN 1:1\n"
        "        - '5e7dadd4'\n"
        "    canceled: false\n"
    )
