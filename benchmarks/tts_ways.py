"""The same work done by the original and by us, with the same weights: one utterance, one training step.

Axes: b batch · x tokens · t frames · m mel bands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.tts_original import TOKEN_FRAMES, Original
from pipelines.tts.stabletts.acceleration import Acceleration, accelerate
from pipelines.tts.stabletts.config import FRAMES_PER_S
from pipelines.tts.stabletts.flow import SamplingOptions
from pipelines.tts.stabletts.model import Batch, Draws, StableTTS
from pipelines.tts.stabletts.vocos import Vocos

REFERENCE_FRAMES = 300
CLIPS = 4
VERSES = 4
LEARNING_RATE = 1e-6  # the weights should stay what they are

Weights = tuple[StableTTS, Vocos]


class Speaking:
    """From token ids to a mel or to sound; both draw the same noise."""

    def __init__(self, original: Original, weights: Weights, frames: int) -> None:
        self.model, self._our_vocoder = weights
        self._theirs = original.model(self.model).eval()
        self._their_vocoder = original.vocoder(self._our_vocoder)
        self.ready = {narrow: _ready(self.model, narrow=narrow) for narrow in (False, True)}
        generator = torch.Generator().manual_seed(1)
        tokens = frames // TOKEN_FRAMES
        n_vocab, n_mels = self.model.config.n_vocab, self.model.config.n_mels
        self._x = torch.randint(0, n_vocab, (1, tokens), generator=generator)
        self._reference = torch.randn((1, n_mels, REFERENCE_FRAMES), generator=generator) - 5
        self.options = SamplingOptions()
        self.calls = 0  # of the original's velocity network
        self._theirs.decoder.estimator.register_forward_hook(self._count)

    @torch.inference_mode()
    def original(
        self, *, narrow: bool = False, solver: str | None = "euler", tokens: int | None = None
    ) -> Tensor:
        """Return the mel `(1, m, t)` of all tokens or the first; no solver means the adaptive one."""
        torch.manual_seed(2)
        x = self._x[:, :tokens]
        with precision(narrow=narrow):
            out = self._theirs.synthesise(
                x,
                torch.tensor([x.shape[1]]),
                self.options.steps,
                y=self._reference,
                solver=solver,
                cfg=self.options.guidance,
            )
        mel: Tensor = out["decoder_outputs"]
        return mel

    @torch.inference_mode()
    def ours(self, *, narrow: bool = False) -> Tensor:
        """Return the mel `(1, m, t)`."""
        torch.manual_seed(2)
        model = self.ready[narrow]
        with precision(narrow=narrow):
            c = model.voice(self._reference)
            prior, _, _ = model.plan(self._x, torch.tensor([self._x.shape[1]]), c)
            # The original draws into a transposed tensor, which takes the numbers in another order.
            noise = torch.randn_like(prior.mu.transpose(1, 2).contiguous().transpose(1, 2))
            return model.render(prior, noise, self.options)

    @torch.inference_mode()
    def original_sound(self, solver: str | None = None) -> Tensor:
        """What its users get: adaptive solver, float32."""
        sound: Tensor = self._their_vocoder(self.original(solver=solver))
        return sound

    @torch.inference_mode()
    def our_sound(self, *, narrow: bool) -> Tensor:
        """What our users get."""
        sound: Tensor = self._our_vocoder(self.ours(narrow=narrow).float())
        return sound

    @torch.inference_mode()
    def original_verses(self) -> None:
        """Speak verses of different lengths; it knows no batches."""
        for tokens in self._verses():
            self._their_vocoder(self.original(tokens=tokens))

    @torch.inference_mode()
    def our_verses(self, *, narrow: bool) -> None:
        """Speak the same verses in one batch."""
        lengths = torch.tensor(self._verses())
        model = self.ready[narrow]
        with precision(narrow=narrow):
            c = model.voice(self._reference).expand(len(lengths), -1)
            x = self._x.expand(len(lengths), -1)
            prior, frames, _ = model.plan(x, lengths, c)
            mels = model.render(prior, torch.randn(prior.mu.shape), self.options)
        for mel, count in zip(mels.float(), frames.tolist(), strict=True):
            self._our_vocoder(mel[None, :, :count])

    @property
    def verses_s(self) -> float:
        """How long the verses are together."""
        return sum(self._verses()) * TOKEN_FRAMES / FRAMES_PER_S

    def _verses(self) -> list[int]:
        """Tokens of each, the longest first."""
        return [round(self._x.shape[1] * (1 - 0.05 * i)) for i in range(VERSES)]

    def _count(self, *_: object) -> None:
        self.calls += 1


class Training:
    """A step of AdamW on four clips, dropout and all."""

    def __init__(self, original: Original, weights: Weights, frames: int) -> None:
        self._ours = weights[0].train()
        self._theirs = original.model(self._ours).train()
        tokens = frames // TOKEN_FRAMES
        y = torch.randn(CLIPS, self._ours.config.n_mels, frames) - 5
        crop = frames // 4
        self._batch = Batch(
            torch.randint(0, self._ours.config.n_vocab, (CLIPS, tokens)),
            torch.full((CLIPS,), tokens),
            y,
            torch.full((CLIPS,), frames),
            y[:, :, :crop],
            torch.full((CLIPS,), crop),
        )
        self._optimizers = [_adam(self._theirs), _adam(self._ours)]

    def original(self, *, narrow: bool = False) -> None:
        """Make a step; it was never meant to be narrow, but it can be."""
        self._optimizers[0].zero_grad()
        batch = self._batch
        with precision(narrow=narrow):
            duration, flow, prior, _ = self._theirs(
                batch.x, batch.x_lengths, batch.y, batch.y_lengths, batch.z, batch.z_lengths
            )
        (duration + flow + prior).backward()
        self._optimizers[0].step()

    def ours(self, *, narrow: bool = False) -> None:
        """Make a step."""
        self._optimizers[1].zero_grad()
        with precision(narrow=narrow):
            losses = self._ours(self._batch, Draws.sample(self._batch.y))
        losses.total.backward()
        self._optimizers[1].step()


def precision(*, narrow: bool) -> torch.autocast:
    """What both compute in: bfloat16 where torch thinks it safe, or float32."""
    return torch.autocast("cpu", torch.bfloat16, enabled=narrow)


def _ready(model: StableTTS, *, narrow: bool) -> StableTTS:
    return accelerate(model, Acceleration(), torch.bfloat16 if narrow else torch.float32)


def _adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
