"""Where a setting comes from when it comes from several places."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gitlab_jobs.errors import ConfigError
from gitlab_jobs.settings import load_settings, read_token


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine takes part."""
    for name in ("GITLAB_URL", "GITLAB_TOKEN", "WORKER_ID", "WORK_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_the_nearest_source_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line over environment over plain variable over file over default."""
    file = tmp_path / "worker.toml"
    found = [load_settings([]).worker_id]
    file.write_text('worker_id = "file"\n', encoding="utf-8")
    arguments = ["--config", str(file)]
    found.append(load_settings(arguments).worker_id)
    monkeypatch.setenv("WORKER_ID", "plain")
    found.append(load_settings(arguments).worker_id)
    monkeypatch.setenv("SCRIPTORIUM_WORKER_ID", "prefixed")
    found.append(load_settings(arguments).worker_id)
    found.append(load_settings([*arguments, "--worker-id", "flag"]).worker_id)
    assert found == [socket.gethostname(), "file", "plain", "prefixed", "flag"]


def test_the_variables_of_the_design_documents_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """All four."""
    plain = {
        "GITLAB_URL": "https://x.org",
        "WORKER_ID": "w",
        "WORK_DIR": "/w",
        "GITLAB_TOKEN": "t0",
    }
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    settings = load_settings([])
    assert settings.gitlab_url == "https://x.org"
    assert settings.worker_id == "w"
    assert settings.work_dir == Path("/w")
    assert read_token(settings) == "t0"


def test_model_settings_merge_field_by_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file sets the device, the environment the base, and the rest stays."""
    file = tmp_path / "worker.toml"
    file.write_text('[models.whisper]\nbase = "small"\ndevice = "cpu"\n', encoding="utf-8")
    monkeypatch.setenv("SCRIPTORIUM_MODELS__WHISPER__BASE", "tiny")
    monkeypatch.setenv("SCRIPTORIUM_MODELS__W2V2BERT__DEVICE", "cpu")
    models = load_settings(["--config", str(file)]).models
    assert (models.whisper.base, models.whisper.device) == ("tiny", "cpu")
    assert models.whisper.precision == "auto"
    assert (models.w2v2bert.base, models.w2v2bert.device) == ("facebook/w2v-bert-2.0", "cpu")


def test_one_flag_of_a_model_leaves_the_others_alone() -> None:
    """On the command line too."""
    models = load_settings(
        ["--models.w2v2bert.base", "tiny", "--models.whisper.diarization"]
    ).models
    assert models.w2v2bert.base == "tiny"
    assert models.w2v2bert.device == "auto"
    assert models.whisper.base == "large-v3"
    assert models.whisper.diarization


def test_the_file_may_be_named_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd units do it; dashes in its keys are allowed."""
    file = tmp_path / "worker.toml"
    file.write_text("keep-jobs = 9\n", encoding="utf-8")
    monkeypatch.setenv("SCRIPTORIUM_CONFIG", str(file))
    assert load_settings([]).keep_jobs == 9


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefixed or plain: an environment file with a line left blank."""
    monkeypatch.setenv("SCRIPTORIUM_WORKER_ID", "")
    monkeypatch.setenv("WORKER_ID", "")
    monkeypatch.setenv("GITLAB_URL", "")
    assert load_settings([]).worker_id == socket.gethostname()
    assert load_settings([]).gitlab_url is None


def test_a_token_file_wins_over_a_token_and_loses_its_line_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the safer place."""
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text("from the file\r\n", encoding="utf-8")
    monkeypatch.setenv("GITLAB_TOKEN", "from the environment")
    assert read_token(load_settings(["--token-file", str(file)])) == "from the file"


def test_a_token_does_not_show_itself() -> None:
    """Neither in the settings' text nor in an error about another setting."""
    settings = load_settings(["--token", "token-very-secret"])
    assert "very-secret" not in f"{settings!r} {settings}"
    with pytest.raises(ConfigError) as refused:
        load_settings(["--token", "token-very-secret", "--keep-jobs", "x"])
    assert "very-secret" not in str(refused.value)
