"""How loud a waveform is, and bringing it to a level without distortion.

Levels are RMS in dB relative to full scale. Knows no recordings and no voices.
"""

from __future__ import annotations

import numpy as np

from pipelines.audio.decode import Samples

CEILING = 0.89
"""Peak that is never exceeded, 1 dB below full scale: codecs overshoot a little."""
BLOCK_S = 0.005
"""The limiter decides anew this often; short enough for a consonant, long enough not to buzz."""


def rms_db(samples: Samples) -> float:
    """Return the level of a waveform relative to full scale."""
    return float(10 * np.log10(np.square(samples, dtype=np.float64).mean() + 1e-12))


def bring_to(samples: Samples, level_db: float, sample_rate_hz: int) -> Samples:
    """Amplify or damp `samples (n)` to a level, and hold back what would exceed the ceiling."""
    gain = 10 ** ((level_db - rms_db(samples)) / 20)
    return limit_peaks((samples * gain).astype(np.float32), sample_rate_hz)


def limit_peaks(samples: Samples, sample_rate_hz: int, ceiling: float = CEILING) -> Samples:
    """Turn the volume down around peaks above the ceiling, smoothly; the rest stays as it is.

    The gain of a block is the lowest that it or a neighbour needs, interpolated between the middles
    of blocks: so it has come down before the peak arrives.
    """
    if len(samples) == 0 or float(np.abs(samples).max()) <= ceiling:
        return samples
    size = max(1, round(BLOCK_S * sample_rate_hz))
    padded = np.pad(np.abs(samples), (0, -len(samples) % size))
    peaks = padded.reshape(-1, size).max(axis=1)
    wanted = np.pad(np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9)), 1, mode="edge")
    lowest = np.minimum(np.minimum(wanted[:-2], wanted[1:-1]), wanted[2:])
    middles = (np.arange(len(lowest)) + 0.5) * size
    gain = np.interp(np.arange(len(samples)), middles, lowest)
    limited: Samples = (samples * gain).astype(np.float32)
    return limited
