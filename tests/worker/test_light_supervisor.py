"""The supervisor stays small: no model library ever, and hardly anything for `--help`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.daemon import HANDLERS, ROOT
from support.job_world import JobWorld, job

HEAVY = ("torch", "numpy", "transformers", "av", "faster_whisper", "soundfile", "tokenizers")
PROBE = """
import sys
sys.path.insert(0, {root!r})
sys.argv[0] = "worker_entry.py"
from worker_entry import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("LOADED", *sorted({{name.partition(".")[0] for name in sys.modules}}))
sys.exit(code)
"""


def loaded(directory: Path, *arguments: str, **variables: str) -> set[str]:
    """Top-level modules in memory after the program has done its work."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(root=str(ROOT)), *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])


def test_a_whole_job_loads_no_model_library_into_the_supervisor(
    world: JobWorld, tmp_path: Path
) -> None:
    """From the first poll to the final commit."""
    world.submit(job("a1"), job("f1", "Failing", fails_with="no"))
    arguments = ["--gitlab-url", world.server.url, "--loop-interval", "-1"]
    arguments += ["--handlers-dir", str(HANDLERS), "--work-dir", str(tmp_path / "work")]
    modules = loaded(tmp_path, *arguments, GITLAB_TOKEN="token-worker")
    assert world.state("a1") == "completed"
    assert modules.isdisjoint(HEAVY)
    assert "gitlab" in modules


def test_the_check_loads_no_model_library_either(world: JobWorld, tmp_path: Path) -> None:
    """It only looks whether they are there."""
    models = {f"SCRIPTORIUM_MODELS__{name}__BASE": "tiny" for name in ("WHISPER", "W2V2BERT")}
    arguments = ["--gitlab-url", world.server.url, "--plan"]
    modules = loaded(tmp_path, *arguments, GITLAB_TOKEN="token-worker", **models)
    assert modules.isdisjoint(HEAVY)


def test_help_loads_no_client(tmp_path: Path) -> None:
    """Which would cost most of its time."""
    modules = loaded(tmp_path, "--help")
    assert modules.isdisjoint({*HEAVY, "gitlab", "requests", "urllib3", "yaml", "huggingface_hub"})
