"""The options of `python -m gitlab_jobs`: which project, which command, which form of output.

Knows no project. Where the server is and who asks comes from the worker's own settings (`settings`), so that
the same variables and token files serve both.
"""

from __future__ import annotations

import argparse

from gitlab_jobs.job import JobType, Mode

DESCRIPTION = """Submit speech jobs to a project, look after them, and stop them, without the editor.

Example: python -m gitlab_jobs --gitlab-url https://gitlab.example.org --project bible/luke list"""


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gitlab_jobs",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_whereabouts(parser, default=None)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        # Understood behind the command as well; absent there, what stands before it counts.
        _add_whereabouts(added, default=argparse.SUPPRESS)
        return added

    command("list", "all jobs of the project")
    for name, text in (
        ("status", "everything about one job"),
        ("cancel", "stop a job, or keep it from starting"),
        ("explain", "why a job has not started"),
    ):
        command(name, text).add_argument("job_id")
    _add_submit(command("submit", "append a job to the manifest"))
    return parser


def _add_whereabouts(parser: argparse.ArgumentParser, default: str | None) -> None:
    for flag, text in (
        ("--gitlab-url", "root of the GitLab server (or GITLAB_URL)"),
        ("--token-file", "file with the access token (or GITLAB_TOKEN)"),
        ("--project", "path of the project, like group/name"),
        ("--project-dir", "a local checkout instead of a server"),
    ):
        parser.add_argument(flag, help=text, default=default)
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON for programs",
        default=default or False,
    )


def _add_submit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job_type", choices=[kind.value for kind in JobType])
    parser.add_argument("mode", choices=[mode.value for mode in Mode])
    parser.add_argument("--model", help="default: StableTTS for tts, W2V2BERT for asr")
    parser.add_argument("--name")
    parser.add_argument("--description")
    parser.add_argument("--base-checkpoint", help="result.checkpoint_path of an earlier job")
    parser.add_argument("--epochs", type=int, help="of a training; default 100")
    parser.add_argument("--include", nargs="+", default=[], metavar="VERSE", help="only these")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="VERSE", help="all but these")
    parser.add_argument("--voice-reference", help="a recording below .project/attachments/")
    parser.add_argument("--transmorgrifier", action="store_true", help="learn to correct the text")
