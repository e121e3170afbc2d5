"""The reference pages name every field, and their examples are real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gitlab_jobs.job import Job, ModelSpec
from gitlab_jobs.manifest import parse_manifest
from gitlab_jobs.response import Response, ResponseProgress, ResponseResult, parse_response

PAGES = Path(__file__).parents[2] / "docs" / "reference"
MANIFEST = (PAGES / "manifest.md").read_text(encoding="utf-8")
RESPONSE = (PAGES / "response.md").read_text(encoding="utf-8")


def fields(page: str) -> set[str]:
    """The names in the first column of a page's tables, without the mapping they are in."""
    rows = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", page, re.MULTILINE)
    return {name.split(".")[-1] for row in rows for name in re.findall(r"`([\w.]+)`", row)}


@pytest.mark.parametrize(
    ("page", "models"),
    [(MANIFEST, (Job, ModelSpec)), (RESPONSE, (Response, ResponseResult, ResponseProgress))],
)
def test_every_field_is_documented(page: str, models: tuple[type[Job], ...]) -> None:
    """A field that nobody can look up does not exist for its user."""
    names = {name for model in models for name in model.model_fields} - {"extra", "model"}
    assert names - fields(page) == set()


def test_the_examples_are_real() -> None:
    """What the pages show is read without a problem and is written the same way."""
    manifest, response = (
        re.search(r"```yaml\n(.*?)```", page, re.DOTALL) for page in (MANIFEST, RESPONSE)
    )
    assert manifest is not None
    found = parse_manifest(manifest[1].encode())
    assert (len(found.jobs), found.problems) == (1, ())
    assert response is not None
    read = parse_response(response[1].encode())
    assert read is not None
    assert read.state == "running"
    assert read.extra == {}
