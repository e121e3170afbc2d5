"""Recipe: train a voice, then speak with it what has no recording yet."""

from __future__ import annotations

from handlers.base import train_then_infer
from handlers.tts.stabletts.inference import infer
from handlers.tts.stabletts.training import train

run = train_then_infer(train, infer)
