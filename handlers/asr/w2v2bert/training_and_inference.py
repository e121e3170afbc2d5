"""Recipe: train a recogniser, then transcribe with it what has no text yet."""

from __future__ import annotations

from handlers.asr.w2v2bert.inference import infer
from handlers.asr.w2v2bert.training import train
from handlers.base import train_then_infer

run = train_then_infer(train, infer)
