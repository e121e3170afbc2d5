"""GraphQL for reading small files of many projects, within GitLab's limits.

Query texts, what they cost, and how to read the answers; sends nothing. Costs follow GitLab's scoring
(a connection is multiplied by 1 + 0.01 x page size, a path of `blobs` counts 1), so `first:` is always
given. Contents are checked against their blob id: `rawTextBlob` is re-encoded text, and bytes that
did not survive that are left to the caller to fetch another way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitlab_jobs.git_objects import is_blob
from gitlab_jobs.paths import JOBS_FOLDER, MANIFEST_PATH
from gitlab_jobs.yaml_text import MAX_BYTES

MAX_COMPLEXITY = 250
MAX_PATHS_AT_ONCE = 50
MAX_ALIAS_PATHS = 20
MANIFEST_BYTES = MAX_BYTES + 1
"""As much of a manifest or response as it takes to see that it is too long."""
PROJECT_GID = "gid://gitlab/Project/"

SCAN = f"""
query Scan($first: Int!, $after: String, $sort: String!) {{
  projects(membership: true, first: $first, after: $after, sort: $sort) {{
    pageInfo {{ endCursor hasNextPage }}
    nodes {{
      id fullPath archived lastActivityAt
      repository {{
        rootRef
        blobs(paths: ["{MANIFEST_PATH}"], first: 1) {{ nodes {{ path oid rawTextBlob }} }}
        tree(path: "{JOBS_FOLDER}") {{ lastCommit {{ sha }} }}
      }}
    }}
  }}
}}
"""

READ = """
query Read($ids: [ID!], $ref: String, $paths: [String!]!, $first: Int!) {
  projects(ids: $ids, first: 1) {
    nodes {
      repository {
        blobs(paths: $paths, ref: $ref, first: $first) { nodes { path oid rawTextBlob } }
      }
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files of one project, as one alias of a query."""

    project_path: str
    paths: tuple[str, ...]

    @property
    def complexity(self) -> int:
        """What the alias adds to a query's score."""
        count = len(self.paths)
        return 2 + int((7 + count) * (1 + 0.01 * count)) + 1


@dataclass(frozen=True, slots=True)
class Blob:
    """A file as GraphQL shows it; `content` is None if the text is not the exact bytes."""

    path: str
    oid: str
    content: bytes | None


def packed(wanted: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    """Share aliases out among as few queries as their complexity allows."""
    portion: list[Wanted] = []
    score = 0
    for item in wanted:
        if portion and score + item.complexity > MAX_COMPLEXITY:
            yield portion
            portion, score = [], 0
        portion.append(item)
        score += item.complexity
    if portion:
        yield portion


def alias_query(portion: Sequence[Wanted]) -> tuple[str, dict[str, Any]]:
    """A query for several projects, and its variables; the answers are named p0, p1 and so on."""
    declared: list[str] = []
    fields: list[str] = []
    variables: dict[str, Any] = {}
    for number, item in enumerate(portion):
        declared.append(f"$f{number}: ID!, $w{number}: [String!]!")
        fields.append(
            f"p{number}: project(fullPath: $f{number}) {{ repository {{ "
            f"blobs(paths: $w{number}, first: {len(item.paths)}) "
            "{ nodes { path oid rawTextBlob } } } }"
        )
        variables[f"f{number}"] = item.project_path
        variables[f"w{number}"] = list(item.paths)
    return f"query Files({', '.join(declared)}) {{ {' '.join(fields)} }}", variables


def blobs_of(project: Mapping[str, Any] | None) -> list[Blob] | None:
    """The files in one project's part of an answer; None if that part failed."""
    repository = (project or {}).get("repository")
    if repository is None:
        return [] if project is not None else None
    connection = repository.get("blobs")
    if connection is None:
        return None
    return [_blob(node) for node in connection.get("nodes") or () if node]


def _blob(node: Mapping[str, Any]) -> Blob:
    text = node.get("rawTextBlob")
    content = None if text is None else str(text).encode()
    exact = content is not None and is_blob(content, str(node["oid"]))
    return Blob(str(node["path"]), str(node["oid"]), content if exact else None)
