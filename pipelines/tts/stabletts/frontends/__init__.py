"""Text front ends of the published weights: one language each, text → list of symbols.

Only for checkpoints that were trained with them; a project's own voice spells with its own characters
(vocabulary.py). Their libraries are optional and imported on use.
"""
