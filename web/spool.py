"""Uploaded files on disk: written part by part, checked as a whole, removed when nobody needs them.

    announce ─► parts, in order ─► size reached ─► SHA-256 as announced? ─► whole
                  └─ cut off: the next part begins where the file ends

The same content from the same owner is one upload, so that announcing twice doubles nothing.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from web.auth import new_id
from web.problems import Refused
from web.protocol import UploadRequest
from web.store import Store, Upload

DISK_FLOOR_BYTES = 1 << 30
"""Uploads leave at least so much free."""
SPARE_S = 600.0
"""From an upload to the job that it is for, and from a job's end to another one with the same recording."""


@dataclass(frozen=True, slots=True)
class Part:
    """A `Content-Range: bytes first-last/total`."""

    first: int
    last: int
    total: int


class Spool:
    """The files of all uploads of a server."""

    def __init__(self, folder: Path, store: Store, max_bytes: int) -> None:
        """Use a folder.

        Args:
            folder: for the files.
            store: for what is known about them.
            max_bytes: no file may be larger.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._store = store
        self._max_bytes = max_bytes
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    @property
    def max_bytes(self) -> int:
        """The size limit."""
        return self._max_bytes

    def announce(self, owner: str, request: UploadRequest) -> Upload:
        """Expect a file, or find that it is here.

        Raises:
            Refused: it is too large, for us or for the disk.
        """
        if request.size > self._max_bytes:
            raise Refused(413, "TOO_LARGE", f"at most {self._max_bytes} bytes are taken")
        wanted = Upload(
            id=new_id("up"),
            owner=owner,
            sha256=request.sha256,
            size=request.size,
            name=request.name,
            is_whole=False,
            used_at=time.time(),
        )
        upload = self._store.add_upload(wanted)
        missing = upload.size - self.offset(upload)
        if missing > shutil.disk_usage(self._folder).free - DISK_FLOOR_BYTES:
            raise Refused(507, "DISK_FULL", "no room for this file", retry_after_s=60.0)
        return upload

    def path(self, upload_id: str) -> Path:
        """Where an upload's bytes are."""
        return self._folder / upload_id

    def offset(self, upload: Upload) -> int:
        """How much of it is here."""
        try:
            return self.path(upload.id).stat().st_size
        except FileNotFoundError:
            return 0

    def of(self, owner: str, upload_id: str) -> Upload:
        """An owner's upload.

        Raises:
            Refused: there is none of that id, or it is somebody else's.
        """
        upload = self._store.upload(upload_id)
        if upload is None or upload.owner != owner:
            raise Refused(404, "UNKNOWN_UPLOAD", "there is no such upload")
        return upload

    def whole(self, owner: str, upload_id: str) -> Upload:
        """An owner's upload that is complete.

        Raises:
            Refused: there is none, or not all of it.
        """
        upload = self.of(owner, upload_id)
        if not upload.is_whole or self.offset(upload) != upload.size:
            raise Refused(409, "UPLOAD_INCOMPLETE", "its bytes are not all here")
        return upload

    @contextmanager
    def receiving(self, upload: Upload, part: Part) -> Iterator[None]:
        """Be the only one who adds to an upload, exactly at its end.

        Raises:
            Refused: the part belongs elsewhere, or another one is on its way.
        """
        with self._lock:
            if upload.id in self._busy:
                raise Refused(409, "UPLOAD_BUSY", "a part is on its way", retry_after_s=1.0)
            self._busy.add(upload.id)
        try:
            offset = self.offset(upload)
            if part.first != offset or part.total != upload.size or part.last >= upload.size:
                raise Refused(409, "UPLOAD_OFFSET", f"byte {offset} comes next", offset=offset)
            yield
        finally:
            with self._lock:
                self._busy.discard(upload.id)

    def check(self, upload: Upload) -> Upload:
        """Accept a file that has reached its size.

        Raises:
            Refused: it is not what was announced; it has to come again from its beginning.
        """
        path = self.path(upload.id)
        if upload.is_whole or self.offset(upload) < upload.size:
            return upload
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != upload.sha256:
            path.unlink()
            raise Refused(422, "UPLOAD_DAMAGED", "its SHA-256 is another one: send it again")
        self._store.mark_whole(upload.id)
        return self._store.upload(upload.id) or upload

    def remove(self, upload_id: str) -> None:
        """Forget an upload and its bytes."""
        self.path(upload_id).unlink(missing_ok=True)
        self._store.delete_upload(upload_id)

    def sweep(self, keep_s: float) -> None:
        """Remove recordings that no open job needs, soon; pieces of some, when nobody goes on for so long."""
        now = time.time()
        for upload in self._store.idle_uploads(now - SPARE_S):
            rest_s = now - max(upload.used_at, self._written_at(upload))
            if rest_s > (SPARE_S if upload.is_whole else keep_s):
                self.remove(upload.id)

    def _written_at(self, upload: Upload) -> float:
        try:
            return self.path(upload.id).stat().st_mtime
        except FileNotFoundError:
            return 0.0
