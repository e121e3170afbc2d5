"""StableTTS v1.1: flow-matching speech synthesis that clones a voice from one recording.

The model code follows published ideas (Matcha-TTS, Grad-TTS, DiT, VITS; see the modules) and keeps the
parameter names of the original release (github.com/KdaiP/StableTTS), so that its checkpoints load.

    text ─ text.py ─► ids ─ encoder.py ─► mu (per token) ─ align.py ─► mu (per frame) ─ flow.py ─► mel ─ vocos.py ─► waveform
    reference mel ─────── encoder.py ─► voice vector, which conditions every block
"""
