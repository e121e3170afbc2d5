"""The batch runner: argv in, files and an exit code out; decides nothing itself.

python batch_entry.py --input FOLDER [--output FOLDER] [-m MODEL]     transcribe, or go on
python batch_entry.py merge --state WHOLE.json PART.json …            join the states of shards
python batch_entry.py cancel --input FOLDER                           end what was left to a controller
python batch_entry.py search --database transcripts.sqlite3 QUESTION   find passages in the transcripts
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from batch.errors import BatchError
from batch.settings import BatchSettings, load_settings
from runner.program import complain, run_program

PROGRAM = "batch_entry.py"


def main(argv: Sequence[str]) -> int:
    """Run a batch, or join the states of several; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        if argv[:1] == ["merge"]:
            return merge_states(argv[1:])
        if argv[:1] == ["cancel"]:
            return cancel_remote(argv[1:])
        if argv[:1] == ["search"]:
            return search_transcripts(argv[1:])
        return transcribe(load_settings(argv))
    except BatchError as error:
        return complain(PROGRAM, error)


def transcribe(settings: BatchSettings) -> int:
    """Run the batch and tell whoever wants to know."""
    from batch.loop import Batch
    from batch.reporting import notice
    from batch.reporting.display import Display
    from pipelines.errors import PipelineError
    from runner.signals import Signals

    signals = Signals()
    display = Display(sys.stdout, sys.stderr, is_json=settings.json_events)
    try:
        with signals.installed(), display:
            ended = Batch(settings, display, signals).run()
    except PipelineError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 65
    if signals.wants_stop:
        print("Run the same command again to go on.", file=sys.stderr)
    if settings.webhook and not settings.dry_run:
        notice.post(settings.webhook, ended.report)
    if settings.email and not settings.dry_run:
        notice.mail(settings.email, settings.smtp, ended.report)
    return ended.exit_code


def cancel_remote(argv: Sequence[str]) -> int:
    """End the jobs that a stopped batch left to its controller; the flags are the batch's."""
    from batch.remote.cancel import cancel_jobs

    count = cancel_jobs(load_settings([*argv, "--remote"]))
    print(f"{count} jobs canceled; --retry-canceled would do them.")
    return 0


def merge_states(argv: Sequence[str]) -> int:
    """Join the states of shards into one."""
    from batch.state.shards import merge

    parser = argparse.ArgumentParser(prog=f"{PROGRAM} merge", description=merge_states.__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the joined state")
    parser.add_argument("parts", type=Path, nargs="+", help="states of the shards")
    options = parser.parse_args(argv)
    count = merge(options.parts, options.state)
    print(f"{options.state} knows {count} files.")
    return 0


def search_transcripts(argv: Sequence[str]) -> int:
    """Find the passages nearest in meaning, or those with certain words."""
    from batch.flags.sinks import DATABASE_NAME
    from batch.sinks.search import Search, find, shown

    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} search", description=search_transcripts.__doc__
    )
    parser.add_argument("question", nargs="+", help="what is looked for")
    parser.add_argument("--database", default=DATABASE_NAME, help="URL or path; %(default)s")
    parser.add_argument("--words", action="store_true", help="passages with all of these words")
    parser.add_argument("--most", type=int, default=10, help="passages to show; %(default)s")
    parser.add_argument("--embeddings", help="one of several sentence models, or where it is now")
    models = BatchSettings.model_fields["cache_dir"].default
    parser.add_argument("--cache-dir", type=Path, default=models, help="models of a hub")
    parser.add_argument("--json", action="store_true", help="one JSON object per passage")
    told = parser.parse_args(argv)
    search = Search(
        question=tuple(told.question),
        database=told.database,
        cache_dir=told.cache_dir,
        has_words=told.words,
        most=told.most,
        model=told.embeddings,
    )
    for line in shown(find(search), is_json=told.json):
        print(line)
    return 0


if __name__ == "__main__":
    run_program(main)
