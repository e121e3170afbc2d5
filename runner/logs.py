"""A program's own log: one event a line on standard error, as text or JSON, with secrets masked.

Knows nothing of jobs; a job's log is `joblog`. Set up once, at start.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

Mask = Callable[[bytes], bytes]

QUIET = ("urllib3", "httpx", "httpcore", "filelock", "huggingface_hub")
"""Libraries whose INFO lines say nothing to an operator."""


class TextFormatter(logging.Formatter):
    """`2026-01-01T10:00:00.000Z INFO gitlab_jobs.claims: claimed job …`."""

    def __init__(self, mask: Mask) -> None:
        """Mask the finished line, whatever it was made of."""
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        self.converter = time.gmtime
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """One event, one line: line ends inside become a visible mark."""
        line = super().format(record).replace("\n", " ⏎ ")
        return self._mask(line.encode("utf-8", "replace")).decode("utf-8", "replace")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for journals and collectors."""

    def __init__(self, mask: Mask) -> None:
        """Mask the finished line, whatever it was made of."""
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, process, and the traceback as one field."""
        fields = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            "pid": record.process,
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        line = json.dumps(fields, ensure_ascii=False)
        return self._mask(line.encode("utf-8", "replace")).decode("utf-8", "replace")


def set_up_logging(level: str, log_format: str, mask: Mask) -> None:
    """Send the root logger to standard error in the given format ("text" or "json")."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(mask) if log_format == "json" else TextFormatter(mask))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
