"""Who does the work: cores are divided, never lent twice, and what was asked for is passed on."""

from __future__ import annotations

import pytest

from batch.crew import CORES_TO_DECODE_ON, choose_crew, shares
from batch.settings import load_settings

CORES = range(1, 65)


@pytest.mark.parametrize("beside", [0, 1, 3])
def test_workers_on_a_cpu_never_have_more_threads_than_there_are_cores(beside):
    """Optional stages counted, and decoding too where there are cores to choose from."""
    for cores in CORES:
        for wanted in range(2 * cores):
            share = shares(cores, wanted, beside=beside)
            has_room = cores >= CORES_TO_DECODE_ON
            others = min(beside, cores - 1) + (share.decoders if has_room else 0)
            assert share.workers * share.threads + others <= cores, (cores, wanted, share)
            assert share.workers >= 1
            assert share.threads >= 1


@pytest.mark.parametrize("gpus", [1, 2, 8])
@pytest.mark.parametrize("beside", [0, 2])
def test_beside_gpus_everybody_has_a_thread_and_nobody_more_than_there_is(gpus, beside):
    """More than one thread only while all threads together fit."""
    for cores in CORES:
        for wanted in (0, gpus, 2 * gpus):
            share = shares(cores, wanted, gpus=gpus, beside=beside)
            assert share.workers == (wanted or gpus)
            together = share.workers * share.threads + share.decoders + beside * gpus
            assert together <= cores or share.threads == 1, (cores, wanted, share)


def test_all_cores_are_used():
    """As far as they can be divided."""
    assert (shares(2).threads, shares(2, 2).threads, shares(4, 2).threads) == (2, 1, 2)
    assert shares(64).threads == 63
    assert shares(7, 3).threads == 2


def test_the_longest_recording_is_the_operators_choice(tmp_path):
    """The decoder is told."""
    argv = ["--input", str(tmp_path), "--gpus", "none", "-m", "tiny", "--max-hours", "1.5"]
    assert choose_crew(load_settings(argv)).tasks.decode.options == {"longest_s": 5400.0}
