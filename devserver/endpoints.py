"""One name per endpoint, however its parameters read: what counters count and fault rules match.

`/api/v4/projects/7/repository/files/a%2Fb.txt?ref=main` is `/projects/:id/repository/files/:path`.
"""

from __future__ import annotations

import re

_API = "/api/v4"

# Tried in order on the raw (still percent-encoded) path; the first match names the endpoint.
_PATTERNS = [
    (re.compile(pattern), name)
    for pattern, name in [
        (r"/.+/info/refs", "git info/refs"),
        (r"/.+\.git/git-upload-pack", "git-upload-pack"),
        (r"/.+\.git/git-receive-pack", "git-receive-pack"),
        (r"/.+\.git/info/lfs/objects/batch", "lfs batch"),
        (r"/.+\.git/info/lfs/locks(/verify)?", r"lfs locks\1"),
        (r"/.+\.git/info/lfs/.*", "lfs legacy"),
        (r"/.+\.git/gitlab-lfs/objects/.*", "lfs object"),
        (r"/api/graphql", "/api/graphql"),
    ]
]

# In API paths every parameter is one segment, and only these literals precede one.
_PARAMETERS = {
    "projects": ":id",
    "users": ":id",
    "groups": ":id",
    "files": ":path",
    "commits": ":sha",
    "blobs": ":sha",
    "branches": ":branch",
    "members": ":user_id",
    "all": ":user_id",
}


def endpoint_of(path: str) -> str:
    """Name the endpoint of a raw request path."""
    if path.startswith(f"{_API}/"):
        return _api_endpoint(path.removeprefix(_API))
    for pattern, name in _PATTERNS:
        if match := pattern.fullmatch(path):
            return match.expand(name)
    return "page"


def _api_endpoint(path: str) -> str:
    named: list[str] = []
    expected: str | None = None
    for segment in path.strip("/").split("/"):
        if expected is not None and (expected, segment) != (":user_id", "all"):
            named.append(expected)
            expected = None
        else:
            named.append(re.sub(r"^archive\..+", "archive", segment))
            expected = _PARAMETERS.get(segment)
    return "/" + "/".join(named)
