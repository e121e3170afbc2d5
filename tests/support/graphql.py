"""Asking the devserver's GraphQL endpoint: the queries of a scan, and a client that counts scores."""

from __future__ import annotations

import json
from typing import Any

import requests
from support.devserver import DevServer

MANIFEST = "version: 1\njobs: []\n"
BLOBS = 'blobs(paths: ["gpu_jobs/manifest.yaml"], first: 1) { nodes { path oid rawTextBlob } }'
LISTING = 'tree(path: "gpu_jobs", recursive: true) { blobs { nodes { path sha } } }'
LAST_COMMIT = 'tree(path: "gpu_jobs") { lastCommit { sha committedDate } }'
BOTH = 'tree(path: "gpu_jobs", recursive: true) { lastCommit { sha } blobs { nodes { path sha } } }'
OWN_SCORE = 3
"""What `queryComplexity { score limit }` costs itself."""


def scan(fields: str, page: int = 100) -> str:
    """Return a query that reads something of every project."""
    arguments = f'membership: true, first: {page}, after: $after, sort: "latest_activity_desc"'
    node = f"id fullPath lastActivityAt repository {{ rootRef {fields} }}"
    return (
        f"query Scan($after: String) {{ projects({arguments}) "
        f"{{ pageInfo {{ endCursor hasNextPage }} nodes {{ {node} }} }} "
        "queryComplexity { score limit } }"
    )


def alias(name: str, path: str, paths: list[str]) -> str:
    """Return the part of a query that reads some files of one project."""
    return (
        f"{name}: project(fullPath: {json.dumps(path)}) {{ repository {{ "
        f"blobs(paths: {json.dumps(paths)}, first: {len(paths)}) "
        "{ nodes { path oid rawTextBlob } } } }"
    )


class Graphql:
    """The endpoint as one user."""

    def __init__(self, server: DevServer, token: str = "token-worker") -> None:
        self.url = f"{server.url}/api/graphql"
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(self, body: object) -> requests.Response:
        """Send any JSON body."""
        return requests.post(self.url, json=body, headers=self.headers, timeout=30)

    def __call__(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = self.send({"query": query, "variables": variables})
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def data(self, query: str, **variables: Any) -> Any:
        """Return the data of a query that succeeds."""
        result = self(query, **variables)
        assert "errors" not in result, result
        return result["data"]

    def messages(self, query: str, **variables: Any) -> list[str]:
        """Return the error messages of a query."""
        return [error["message"] for error in self(query, **variables)["errors"]]
