"""What the demo says on a terminal: the plan, the story as it happens, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.verdict import Verdict
from demo.weights import Weights
from demo.world import (
    INFERENCE_JOB,
    PROJECT,
    SPEAKING_JOB,
    TRAINING_JOB,
    VOICE_JOB,
    WHISPER_JOB,
)

JOB_WORDS = {
    WHISPER_JOB: "Whisper transcribes six recorded verses",
    TRAINING_JOB: "a small Wav2Vec2-BERT learns from twelve verses",
    INFERENCE_JOB: "that model transcribes four verses",
    VOICE_JOB: "a small StableTTS learns a voice from five verses",
    SPEAKING_JOB: "that voice speaks verses that nobody recorded; the recogniser listens",
}


def show_plan(console: Console, url: str, whisper: Weights, voice: Weights) -> None:
    """Before anything happens: what will."""
    console.rule("Scriptorium demo")
    console.print(f"A GitLab of our own at [bold]{url}[/], with the Codex project {PROJECT}.")
    console.print("Its manifest asks for five jobs:")
    for number, words in enumerate(JOB_WORDS.values(), start=1):
        console.print(f"  {number}. {words}")
    console.print(f"Whisper weights: {whisper.origin}. Vocoder weights: {voice.origin}.")
    console.print("The daemon starts now.\n")


def show_log_line(console: Console, line: str) -> None:
    """One line of the daemon's log, without the parts that only an operator needs."""
    time_and_rest = line.partition("Z ")
    message = time_and_rest[2].partition(": ")[2] or line
    style = "yellow" if " WARNING " in line else "red" if " ERROR " in line else "dim"
    console.print(f"  {time_and_rest[0][11:19]}  {message}", style=style, markup=False)


def show_result(
    console: Console, verdict: Verdict, requests_made: Mapping[str, int], commits: list[str]
) -> None:
    """After the daemon ended: verses, figures, and whether all is well."""
    verses = Table(title="Verses that got text", title_justify="left")
    for column in ("verse", "before", "after", "CER"):
        verses.add_column(column, overflow="fold", justify="right" if column == "CER" else "left")
    for row in verdict.rows:
        verses.add_row(row.reference, row.before or "–", row.after, f"{row.cer:.2f}")
    console.print(verses)
    if verdict.training_cer:
        first, best = verdict.training_cer[0], min(verdict.training_cer)
        console.print(
            f"Whisper: CER {verdict.whisper_cer:.3f} over its six verses; {verdict.subtitles} subtitle files "
            "beside its report."
        )
        console.print(f"Training: CER {first:.2f} at first, {best:.2f} at best.")
        console.print(
            "The four verses of XXC are the sentences it learned from, encoded again: a model taught "
            "from nothing by 80 seconds of speech knows only what it has heard.\n"
        )
    _show_spoken(console, verdict)
    counts = Table(title="Requests of the daemon", title_justify="left")
    counts.add_column("endpoint")
    counts.add_column("times", justify="right")
    for endpoint, count in sorted(requests_made.items(), key=lambda item: -item[1]):
        counts.add_row(endpoint, str(count))
    console.print(counts)
    console.print(f"{len(commits)} commits by the worker:")
    for subject in commits:
        console.print(f"  {subject}", style="dim", markup=False)
    for problem in verdict.problems:
        console.print(f"[red]wrong:[/] {problem}")
    if not verdict.problems:
        console.print("[green]All five jobs completed; nothing else in the project changed.[/]")


def _show_spoken(console: Console, verdict: Verdict) -> None:
    spoken = Table(title="Verses that were spoken", title_justify="left")
    for column in ("verse", "text", "seconds", "verdict", "seeds", "CER"):
        is_number = column in ("seconds", "seeds", "CER")
        spoken.add_column(column, overflow="fold", justify="right" if is_number else "left")
    for row in verdict.spoken:
        seconds = f"{row.seconds:.1f}" if row.seconds else "–"
        spoken.add_row(row.reference, row.text, seconds, row.verdict, row.tries, row.cer)
    console.print(spoken)
    if verdict.voice_loss:
        first, lowest = verdict.voice_loss[0], min(verdict.voice_loss)
        console.print(f"Voice: loss {first:.1f} at first, {lowest:.1f} at its lowest.")
        console.print(
            "CER is what the demo's own recogniser heard otherwise. It knows one voice by heart, and this "
            "one has learned for seconds, so it understands little; the column shows that it was asked.\n"
        )


def show_places(console: Console, home: Path, url: str) -> None:
    """Where to look further."""
    console.print(f"\nEverything is kept in {home}; the page was {url}/{PROJECT}.")
    console.print("Read and listen in a browser with:  make demo SERVE=1")
    console.print(f"Each job's report.html is in {home / 'after' / 'gpu_jobs'}.")
