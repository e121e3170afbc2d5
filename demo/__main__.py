"""`make demo`: an embedded GitLab, a real project, the real daemon, and what came of it.

Starts every part as an operator would, waits for the daemon to finish its five jobs, then judges the
result from a fresh clone: which cells changed, how right their text is, how the new takes sound to a
quality check, and that nothing else changed.
Exits 0 only if all of that holds.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from rich.console import Console

from demo import report
from demo.servers import GitLab, clone, run_daemon
from demo.verdict import judge
from demo.weights import find_vocoder, find_whisper
from demo.world import PROJECT, TRANSLATOR_TOKEN, WORKER_TOKEN, write_world

ROOT = Path(__file__).resolve().parent.parent
CLIPS = ROOT / "tests" / "data" / "speech"
EPOCHS = 60


def main() -> int:
    """Run the demo; 0 if everything came out right."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="keep the page up until Ctrl-C")
    parser.add_argument("--dir", type=Path, help="an empty folder to work in (default: a new one)")
    parser.add_argument(
        "--port", type=int, default=0, help="port of the page (default: a free one)"
    )
    arguments = parser.parse_args()
    console = Console(highlight=False)
    home = arguments.dir or Path(tempfile.mkdtemp(prefix="scriptorium-demo-"))
    home.mkdir(parents=True, exist_ok=True)
    world = write_world(home, CLIPS, epochs=EPOCHS)
    with GitLab(home / "gitlab", world, arguments.port) as gitlab:
        good = run(console, home, gitlab)
        if arguments.serve:
            console.print(f"\nThe page stays at {gitlab.url}/{PROJECT} until Ctrl-C.")
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
        else:
            report.show_places(console, home, gitlab.url)
    return 0 if good else 1


def run(console: Console, home: Path, gitlab: GitLab) -> bool:
    """Let the daemon do its jobs, show and judge them."""
    whisper, voice = find_whisper(), find_vocoder()
    report.show_plan(console, gitlab.url, whisper, voice)
    before, after = home / "before", home / "after"
    clone(gitlab.url, PROJECT, TRANSLATOR_TOKEN, before)
    gitlab.forget_requests()
    code = run_daemon(
        gitlab.url,
        WORKER_TOKEN,
        home / "work",
        {"whisper": whisper.base, "w2v2bert": "tiny", "stabletts": voice.base},
        lambda line: report.show_log_line(console, line),
    )
    requests_made = gitlab.requests_made()
    clone(gitlab.url, PROJECT, TRANSLATOR_TOKEN, after)
    verdict = judge(before, after, CLIPS, lambda path: gitlab.sound(PROJECT, path))
    if code != 0:
        verdict.problems.append(f"the daemon ended with exit code {code}")
    report.show_result(console, verdict, requests_made, _worker_commits(after))
    return not verdict.problems


def _worker_commits(clone_dir: Path) -> list[str]:
    command = ["git", "-C", str(clone_dir), "log", "--reverse", "--format=%s", "--author=worker"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    return listed.stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main())
