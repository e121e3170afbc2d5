"""Who speaks when: turns of speakers in a recording, without knowing the speakers.

`Diariser` is the port; `voices` is the default, whose weights are free and come in a package, and
`pyannote` is for operators who have access to that. Knows no words but those it is asked to assign.
"""
