"""Makes lost outputs again from the stored JSON, several files at once, since a part of them may wait for somebody else.

Notes nothing: what was made again is handed to the caller, in its own thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from batch.flow import Warned
from batch.outputs.writing import Writer
from batch.recordings.source import Asset
from batch.side_by_side import POLL_S
from runner.signals import Signals

AT_ONCE = 4


def rebuilt(
    assets: Iterable[Asset], writer: Writer, signals: Signals
) -> Iterator[tuple[Asset, tuple[Warned, ...]]]:
    """Each file as its outputs are whole again, with what could not be done; a stop leaves the rest to the next run."""
    at_once = max([AT_ONCE, *(one.at_once for one in writer.after)])
    with ThreadPoolExecutor(at_once, "rebuilding") as pool:
        futures = {pool.submit(writer.rebuild, asset): asset for asset in assets}
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, POLL_S, FIRST_COMPLETED)
            if signals.wants_stop or signals.wants_drain:
                pool.shutdown(wait=False, cancel_futures=True)
            if signals.wants_end_now:
                writer.leave()
            for future in done - {one for one in done if one.cancelled()}:
                yield futures[future], future.result()
