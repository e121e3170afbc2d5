"""Real servers for the sinks: PostgreSQL with pgvector, and S3 emulated over HTTP."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.object_store import object_store
from support.sentence_model import save_sentence_model


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of its own in a folder, with the extension pgvector at hand."""
    # Not below pytest's folder: as root the server runs as another user, and every pytest that starts shuts that
    # folder to others.
    with tempfile.TemporaryDirectory(prefix="postgres-") as home:
        server = _started(Path(home), tmp_path_factory.mktemp("runtime"))
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        finally:
            server.cleanup()


def _started(home: Path, runtime: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        import pgserver  # looks for that folder when it is imported
        from pgserver import postgres_server

        # Ten seconds for a start are its idea of patience; a busy machine needs more.
        start = postgres_server.pg_ctl
        patch.setattr(postgres_server, "pg_ctl", lambda *a, **k: start(*a, **{**k, "timeout": 90}))
        return pgserver.get_server(home, cleanup_mode="stop")


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """S3 on a loopback port."""
    with object_store() as url:
        yield url


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence model that is small and real."""
    return save_sentence_model(tmp_path_factory.mktemp("sentences"))


@pytest.fixture
def aws_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of nobody."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    """What a batch leaves of one recording."""
    made = tmp_path / "talk.txt", tmp_path / "talk.srt"
    for path in made:
        path.write_text(f"the content of {path.name}\n", encoding="utf-8")
    return made
