"""Ends what an interrupted batch left to a controller: `batch_entry.py cancel`."""

from __future__ import annotations

from dataclasses import replace

from batch.errors import CannotRun
from batch.peer import PeerError
from batch.remote.controller import Controller
from batch.remote.session_file import session_path
from batch.settings import BatchSettings
from batch.state.file import StateFile
from batch.state.record import USER_CANCELED, Status


def cancel_jobs(settings: BatchSettings) -> int:
    """Cancel all jobs that the state knows to be under way; returns how many there were.

    Raises:
        Locked: a batch is at work on them; stop it first.
        CannotRun: the controller does not answer.
    """
    place = session_path(settings.controller, settings.state_path)
    controller = Controller(settings.controller, place, is_stopping=lambda: False)
    count = 0
    with StateFile(settings.state_path) as state:
        try:
            controller.open()
            for name, record in list(state.records.items()):
                if not record.is_with_controller or record.job_id is None:
                    continue
                if controller.cancel(record.job_id):
                    count += 1
                    canceled = replace(record, status=Status.CANCELED, error_code=USER_CANCELED)
                    state.put(name, canceled)
        except PeerError as error:
            raise CannotRun(f"{count} jobs canceled, then: {error}", "see --controller") from error
        finally:
            controller.close()
    return count
