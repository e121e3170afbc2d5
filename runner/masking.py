"""Removes secrets from everything that leaves the process: logs, reports, messages.

    known secrets, in raw, URL, JSON and base64 forms ┐
    well-known token prefixes (glpat-, hf_, …)        │
    user:password@ in URLs                            ├─► [MASKED]
    sensitive query parameters, headers, settings     ┘

`Masker` works on whole texts; `MaskingStream` on chunks that may cut a secret anywhere. Fails closed: what
could not be masked is not let through. Knows neither log files nor children.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from runner.boundary import Raised, boundary

logger = logging.getLogger(__name__)

MASK = b"[MASKED]"
MIN_SECRET_CHARS = 8
"""Shorter ones would mask ordinary words."""
CUT_MARGIN_BYTES = 8 * 1024
"""How much of an unfinished line is held back; no secret is longer."""

_PREFIXES = (
    "glpat-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-",
    "glsoat-", "glffct-", "glwt-", "hf_", "ghp_", "gho_", "ghs_", "ghr_", "github_pat_", "sk-", "AKIA",
    "ASIA",
)  # fmt: skip
_NAMES = (
    "private[_-]token", "job[_-]token", "deploy[_-]token", "access[_-]token", "refresh[_-]token",
    "api[_-]?key", "token", "password", "secret", "x-amz-signature", "x-amz-credential",
    "x-amz-security-token", "signature",
)  # fmt: skip
_HEADERS = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "private-token",
    "job-token",
)

_TOKEN = re.compile(
    rb"(?<![A-Za-z0-9_])(?:%s)[A-Za-z0-9_.=-]{8,}"
    % b"|".join(re.escape(prefix).encode() for prefix in _PREFIXES)
)
_USER_INFO = re.compile(rb"(?<=://)[^\s/@:\"'<>]*:[^\s/@\"'<>]+(?=@)")
_PARAMETER = re.compile(
    rb"(?i)((?:[?&;]|%%26|\b)(?:%s)(?:=|%%3D))([^\s&;\"'<>]+)" % "|".join(_NAMES).encode()
)
_HEADER = re.compile(
    rb"(?i)(\b(?:%s)[\"']?\s*[:=]\s*[\"']?)([^\r\n\"']+)" % "|".join(_HEADERS).encode()
)
_ALWAYS = (
    (_USER_INFO, MASK),
    (_HEADER, rb"\1" + MASK),
    (_PARAMETER, rb"\1" + MASK),
    (_TOKEN, MASK),
)


class Masker:
    """Masks known secrets and whatever looks like one. Immutable, safe from any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms: set[bytes] = set()
        for secret in secrets:
            if len(secret) < MIN_SECRET_CHARS:
                logger.warning("a secret of %d characters is too short to be masked", len(secret))
                continue
            forms |= _forms(secret)
        # The longest first, so that no form leaves a piece of a longer one behind.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile(b"|".join(map(re.escape, ordered))) if ordered else None

    def mask(self, data: bytes) -> bytes:
        """Return the data with every secret replaced."""
        if self._known is not None:
            data = self._known.sub(MASK, data)
        for pattern, replacement in _ALWAYS:
            data = pattern.sub(replacement, data)
        return data

    def mask_text(self, text: str) -> str:
        """Return the text with every secret replaced."""
        return self.mask(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _forms(secret: str) -> set[bytes]:
    raw = secret.encode("utf-8", "surrogateescape")
    texts = {secret, quote(raw, safe=""), quote(raw), quote_plus(raw), json.dumps(secret)[1:-1]}
    texts.add(json.dumps(secret, ensure_ascii=False)[1:-1])
    forms = {text.encode("utf-8", "surrogateescape") for text in texts}
    # Percent signs may come in either case: %2F or %2f.
    forms |= {re.sub(rb"%[0-9A-F]{2}", lambda hit: hit[0].lower(), form) for form in forms}
    forms |= _base64_forms(raw)
    return {form for form in forms if len(form) >= MIN_SECRET_CHARS}


def _base64_forms(raw: bytes) -> set[bytes]:
    """The secret alone and inside a longer text: base64 shifts with the number of bytes before it."""
    forms = {base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")}
    for shift in (1, 2):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Only the characters that depend on the secret's own bytes.
            forms.add(encode(b"\0" * shift + raw)[shift + 1 : -4])
    forms.add(base64.b64encode(raw)[: len(raw) // 3 * 4])
    return forms


class MaskingStream:
    """Masks a stream of chunks: whatever the cuts, no secret leaves in pieces."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = b""
        self.dropped_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk, return what may be written now: whole lines, mostly."""
        self._held += chunk
        end = max(self._held.rfind(b"\n"), self._held.rfind(b"\r")) + 1
        if not end and len(self._held) > 2 * CUT_MARGIN_BYTES:
            return self._let_go_of_overlong()
        ready, self._held = self._held[:end], self._held[end:]
        return self._masked(ready)

    def close(self) -> bytes:
        """Return what was held back."""
        ready, self._held = self._held, b""
        return self._masked(ready)

    def _let_go_of_overlong(self) -> bytes:
        """Mask all of an endless line, then hold its end back: a secret may begin there."""
        masked = self._masked(self._held)
        cut = max(0, len(masked) - CUT_MARGIN_BYTES)
        while cut < len(masked) and masked[cut] & 0xC0 == 0x80:  # never inside a UTF-8 character
            cut += 1
        self._held = masked[cut:]
        return masked[:cut]

    def _masked(self, data: bytes) -> bytes:
        try:
            with boundary("mask"):
                return self._masker.mask(data)
        except Raised:  # fail closed, never show the data
            self.dropped_bytes += len(data)
            logger.exception("masking failed; %d bytes dropped", len(data))
            return b""


class MaskingFilter(logging.Filter):
    """Masks log records: message, arguments and traceback become one masked text."""

    def __init__(self, masker: Masker) -> None:
        super().__init__()
        self._masker = masker
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a record; one that cannot be masked is dropped."""
        try:
            with boundary("mask"):
                self._rewrite(record)
        except Raised:  # a broken argument may hold anything; not even its own text can be shown
            return False
        return True

    def _rewrite(self, record: logging.LogRecord) -> None:
        record.msg, record.args = self._masker.mask_text(record.getMessage()), None
        if record.exc_info:
            record.exc_text = self._formatter.formatException(record.exc_info)
            record.exc_info = None
        if record.exc_text:
            record.exc_text = self._masker.mask_text(record.exc_text)
