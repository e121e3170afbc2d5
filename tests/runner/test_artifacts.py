"""Files between processes: what was announced is what is read, from where it was announced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runner.artifacts import Artifact, ArtifactError


def test_a_file_travels_by_name_size_and_digest(tmp_path: Path) -> None:
    """Described here, checked there."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "text.txt").write_bytes(b"Mawu\n")

    artifact = Artifact.of(tmp_path, "deep/text.txt")
    received = Artifact.parse(artifact.to_json())

    received.check(tmp_path)
    assert received == artifact
    assert received.size_bytes == 5


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    """With both digests, for whoever looks into it."""
    (tmp_path / "a").write_text("one")
    artifact = Artifact.of(tmp_path, "a")
    (tmp_path / "a").write_text("two")

    with pytest.raises(ArtifactError, match=artifact.sha256[:12]):
        artifact.check(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "/etc/passwd",
        "../secret",
        "deep/../../secret",
        "link",
        "deep-link/file",
        "pipe",
        "gone",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """No path out, no link, nothing that is no file."""
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "file").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "deep-link").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")

    with pytest.raises(ArtifactError):
        Artifact.of(folder, name)


@pytest.mark.parametrize(
    "fields", [None, "text.txt", {}, {"name": "a", "size_bytes": "3", "sha256": ""}]
)
def test_what_describes_no_file_is_refused(fields: Any) -> None:
    """A child may send anything."""
    with pytest.raises(ArtifactError):
        Artifact.parse(fields)
