"""What an operator's base directory holds: published text-to-mel weights and a vocoder.

Goes by the names of the published files and by what lies beside them; opens only the vocoder. Knows no hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from pipelines.errors import ModelNotFound
from pipelines.tts.stabletts.griffin_lim import GriffinLim
from pipelines.tts.stabletts.weights import load_vocoder, read_state

TINY = "tiny"
_ACOUSTIC = ("StableTTS/checkpoint_*.pt", "checkpoint_*.pt", "best_model.pt", "*.safetensors")
_VOCODER = ("vocoders/vocos.pt", "vocos.pt", "vocoders/firefly*.ckpt", "firefly*.ckpt")
WITHOUT_WEIGHTS = "griffin-lim"


@dataclass(frozen=True, slots=True)
class Base:
    """Files to start from; without `acoustic` a voice starts from scratch, as a small one."""

    acoustic: Path | None
    vocoder: Path | None

    @property
    def vocoder_name(self) -> str:
        """What to tell a user who wonders about the sound."""
        return self.vocoder.stem if self.vocoder else WITHOUT_WEIGHTS

    def open_vocoder(self) -> nn.Module:
        """Load the vocoder in evaluation mode; without weights, the one that needs none.

        Raises:
            BadCheckpoint: The file is damaged or no vocoder.
        """
        if self.vocoder is None:
            return GriffinLim().eval()
        return load_vocoder(read_state(self.vocoder))


def find_base(base: str) -> Base:
    """Look through an operator's base: "tiny", a directory, or the text-to-mel file itself.

    A directory that holds a vocoder only is "tiny" with a vocoder.

    Raises:
        ModelNotFound: There are no weights at all.
    """
    if base == TINY:
        return Base(None, None)
    path = Path(base)
    if path.is_file():
        return Base(path, _first(path.parent, _VOCODER) or _first(path.parent.parent, _VOCODER))
    acoustic, vocoder = _first(path, _ACOUSTIC), _first(path, _VOCODER)
    if acoustic is None and vocoder is None:
        raise ModelNotFound(
            f"{path.name} holds no StableTTS weights (looked for {', '.join(_ACOUSTIC)})"
        )
    return Base(acoustic, vocoder)


def _first(directory: Path, patterns: tuple[str, ...]) -> Path | None:
    found = (path for pattern in patterns for path in sorted(directory.glob(pattern)))
    return next((path for path in found if path.is_file()), None)
