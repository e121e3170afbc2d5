"""The contestants of `benchmarks.bench_whisper`, each in a process of its own: load, warm up, run, tell.

    python -m benchmarks.whisper_ways WAY BEAM FILE …      one JSON object on standard output

Every way gets paths and gives texts, so that reading the files is part of the race.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.whisper_weights import ctranslate2_model, openai_model

Run = Callable[[Sequence[Path]], list[str]]
LANGUAGE = "en"
THREADS = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


def bare_loop(beam: int) -> Run:
    """faster-whisper as its README shows it: one file after the other."""
    from faster_whisper import WhisperModel

    model = WhisperModel(
        str(ctranslate2_model()), device="cpu", compute_type="int8", cpu_threads=THREADS
    )

    def run(paths: Sequence[Path]) -> list[str]:
        texts = []
        for path in paths:
            segments, _ = model.transcribe(str(path), language=LANGUAGE, beam_size=beam)
            texts.append(" ".join(segment.text for segment in segments))
        return texts

    return run


def ours(beam: int, *, mode: str = "batched", has_words: bool = True) -> Run:
    """Our engine on the same weights, word times included unless said otherwise."""
    from pipelines.asr.whisper.engine import Listening, Mode, open_engine
    from pipelines.asr.whisper.files import transcribe_files
    from pipelines.asr.whisper.transcript import Transcript

    engine = open_engine("faster-whisper", ctranslate2_model(), threads=THREADS)
    listening = Listening(LANGUAGE, Mode(mode), beam, has_words=has_words)

    def run(paths: Sequence[Path]) -> list[str]:
        results = transcribe_files(engine, paths, listening)
        return [result.text if isinstance(result, Transcript) else "" for result in results]

    return run


def original(beam: int) -> Run:
    """The original through our interface, loaded once."""
    from pipelines.asr.whisper.engine import Listening, open_engine
    from pipelines.audio.decode import decode

    engine = open_engine("openai-whisper", openai_model(), threads=THREADS)
    listening = Listening(LANGUAGE, beam=beam, has_words=False)

    def run(paths: Sequence[Path]) -> list[str]:
        sounds = [decode(path).samples for path in paths]
        return [transcript.text for transcript in engine.transcribe(sounds, listening)]

    return run


def original_each(beam: int) -> Run:
    """A process per file with the original, as its command line does (which needs the program ffmpeg)."""

    def run(paths: Sequence[Path]) -> list[str]:
        texts: list[str] = []
        for path in paths:
            command = [sys.executable, "-m", "benchmarks.whisper_ways", "original", str(beam)]
            done = subprocess.run([*command, str(path)], check=True, capture_output=True)
            texts += json.loads(done.stdout)["texts"]
        return texts

    return run


WAYS: dict[str, Callable[[int], Run]] = {
    "bare": bare_loop,
    "ours": ours,
    "ours without words": lambda beam: ours(beam, has_words=False),
    "ours sequential": lambda beam: ours(beam, mode="sequential"),
    "original": original,
    "original, a process per file": original_each,
}


def main(argv: Sequence[str]) -> None:
    """Run one way over some files."""
    way, beam, paths = argv[0], int(argv[1]), [Path(word) for word in argv[2:]]
    begun = time.perf_counter()
    run = WAYS[way](beam)
    load_s = time.perf_counter() - begun
    if way.startswith(("bare", "ours")):
        # A first run pays for what is made once; the original's would be counted twice.
        run(paths[:1])
    begun = time.perf_counter()
    texts = run(paths)
    took_s = time.perf_counter() - begun
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak_mb = max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024
    print(json.dumps({"took_s": took_s, "load_s": load_s, "texts": texts, "peak_mb": peak_mb}))


if __name__ == "__main__":
    main(sys.argv[1:])
