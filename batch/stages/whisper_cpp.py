"""The transcribing stage as an external program: whisper.cpp, one process per recording.

Takes and returns what `batch.stages.tasks.Transcribe` does; runs in a thread, since the work is the program's.
"""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

from batch.stages.tasks import Told, write_transcript
from pipelines.asr.whisper.command import PROGRAMS, arguments, read_output
from pipelines.asr.whisper.engine import SAMPLE_RATE_HZ
from pipelines.audio.stored import SAMPLE_BYTES
from runner.command import CommandTask

ENGINE = "whisper.cpp"


class WhisperCpp:
    """Runs whisper.cpp for each recording of a pack."""

    def __init__(
        self, model: str, threads: int = 1, language: str | None = None, beam: int = 5
    ) -> None:
        """Describe the program.

        Args:
            model: a ggml file.
            threads: of each process.
            language: code, or None to have it detected.
            beam: width.
        """
        self._name = Path(model).name
        program = next(filter(shutil.which, PROGRAMS), PROGRAMS[0])
        command = arguments(program, model, threads=threads, language=language, beam=beam)
        self._command = CommandTask(command)

    def setup(self, device: str) -> None:
        """Find the program."""
        self._command.setup(device)

    def run(self, told: Told) -> Told:
        """Transcribe a pack, one recording after the other."""
        folder, decoded = Path(told["folder"]), told["stages"]["decode"]
        pack: list[Told] = []
        for number, file in enumerate(decoded["values"]["pack"]):
            if "failed" in file:
                pack.append(file)
                continue
            base = folder / f"whisper-{number}"
            sound = base.with_suffix(".wav")
            _write_wav(Path(decoded["folder"], file["audio"]), sound)
            self._command.run({"sound": str(sound), "base": str(base)})
            transcript = read_output(base.with_suffix(".json"), file["seconds"])
            pack.append(write_transcript(transcript, folder / f"{number}.json"))
        return {"values": {"pack": pack, "engine": {"engine": ENGINE, "model": self._name}}}

    def stop(self) -> None:
        """End the program that runs now."""
        self._command.stop()


def _write_wav(samples: Path, target: Path) -> None:
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples.read_bytes())
