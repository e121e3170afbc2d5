"""The servers as programs: real speech with the real model, settings, exit codes, what they load."""

from __future__ import annotations

import json
import logging

import psutil
import pytest
from support.speech import spoken_clip
from support.web_servers import TOKEN

import server_entry
from batch.crew import ROOT
from pipelines.text.metrics import spoken_error_rates


@pytest.fixture
def ended(tmp_path, monkeypatch, capsys):
    """Run a server that should end by itself; gives its exit code and what it said."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    for name, value in (("handlers", []), ("level", root.level)):
        monkeypatch.setattr(root, name, value)  # a server sets up its own log

    def run(*argv: str, **environment: str) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            code = server_entry.main(argv)
        return code, capsys.readouterr().err

    return run


def test_real_speech_goes_to_the_worker_and_comes_back_as_files(farm):
    """The bundled model, in the worker's child; neither server's own process loads a model library."""
    clip = spoken_clip("LJ001-0002")
    (farm.place.input / "a.flac").write_bytes(clip.path.read_bytes())
    at = farm.worker.argv.index(str(farm.home / "diary"))
    farm.worker.argv[at - 1 : at + 1] = [str(ROOT / "server_entry.py"), "worker"]
    farm.start()
    _, errors = (process := farm.batch("--language", "en")).communicate(timeout=100)
    assert process.returncode == 0, errors.decode()
    heard = json.loads((farm.place.output / "a.flac.json").read_text("utf-8"))
    rates = spoken_error_rates([clip.text], [heard["text"]])
    assert rates.wer <= 0.2
    assert heard["segments"][0]["words"]
    for running in (farm.worker, farm.controller):
        maps = psutil.Process(running.process.pid).memory_maps()
        assert not [m.path for m in maps if "torch" in m.path or "ctranslate" in m.path]


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ((), 64, "server_entry.py worker"),
        (("worker", "--nonsense"), 64, "nonsense"),
        (("worker",), 78, "WORKER_TOKEN"),
        (("worker", "--token", "short"), 78, "16 characters"),
        (("worker", "--token", TOKEN, "--gpus", "99"), 69, "GPU 99"),
        (("controller", "--port", "99999"), 78, "port"),
        (("controller", "--remote-worker-mode", "required"), 78, "REMOTE_WORKER_URL"),
        (("controller", "--config", "nowhere.toml"), 66, "nowhere.toml"),
        (("controller", "--data-dir", "/dev/null/data"), 73, "/dev/null/data"),
        (("controller", "--host", "0.0.0.0"), 78, "--allow-insecure-http"),
    ],
)
def test_what_cannot_be_ends_with_its_code_and_a_remedy(ended, argv, code, words):
    """So that a service manager can tell what a restart would not cure."""
    ended_with, said = ended(*argv)
    assert ended_with == code, said
    assert words in said
    assert TOKEN not in said


def test_the_command_line_wins_over_environment_and_file(tmp_path, ended):
    """CLI, environment, TOML file, default; a token in the file is refused."""
    config = tmp_path / "server.toml"
    config.write_text('remote_worker_mode = "required"\nport = 1\ndata_dir = "/dev/null/file"\n')
    told = {"SCRIPTORIUM_CONFIG": str(config), "REMOTE_WORKER_URL": "http://w:1"}
    code, said = ended("controller", REMOTE_WORKER_TOKEN=TOKEN, **told)
    assert (code, "/dev/null/file" in said) == (73, True)
    told["CONTROLLER_DATA_DIR"] = "/dev/null/environment"
    assert "/dev/null/environment" in ended("controller", REMOTE_WORKER_TOKEN=TOKEN, **told)[1]
    flag = ("controller", "--data-dir", "/dev/null/flag")
    assert "/dev/null/flag" in ended(*flag, REMOTE_WORKER_TOKEN=TOKEN, **told)[1]
    code, said = ended("controller", **told)
    assert (code, "REMOTE_WORKER_TOKEN" in said) == (78, True)
    config.write_text(f'remote_worker_token = "{TOKEN}"\n')
    code, said = ended("controller", SCRIPTORIUM_CONFIG=str(config))
    assert (code, TOKEN in said) == (78, False)


@pytest.mark.slow
def test_a_data_directory_and_a_port_have_one_server(farm, ended):
    """The second one ends with 81 and names the first; another directory does not help on the same port."""
    farm.worker.start()
    farm.start_controller()
    argv = ("controller", "--data-dir")
    code, said = ended(*argv, str(farm.home / "controller"), "--port", "0")
    assert code == 81
    assert str(farm.controller.process.pid) in said
    code, said = ended(*argv, str(farm.home / "other"), "--port", str(farm.controller.port))
    assert code == 69
    assert str(farm.controller.port) in said
