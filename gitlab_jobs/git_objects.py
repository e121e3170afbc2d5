"""Names that git gives to content, so that bytes can be compared with what a server says of them.

Knows no repository and no transport.
"""

from __future__ import annotations

import hashlib

SHA256_HEX_DIGITS = 64


def blob_id(content: bytes) -> str:
    """The SHA-1 object id of a file's content, as `git hash-object` prints it."""
    return _object_id("sha1", content)


def is_blob(content: bytes, object_id: str) -> bool:
    """Whether these bytes are the blob of that id, in a SHA-1 or a SHA-256 repository."""
    algorithm = "sha256" if len(object_id) == SHA256_HEX_DIGITS else "sha1"
    return _object_id(algorithm, content) == object_id


def _object_id(algorithm: str, content: bytes) -> str:
    digest = hashlib.new(algorithm, b"blob %d\0" % len(content), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()
