"""GraphQL: the scan and alias queries, what they cost, and how they are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import gitlab
import pytest
import requests
from graphql import OperationDefinitionNode, parse
from graphql.execution.values import VariableValues
from support.devserver import DevServer, project, write_world
from support.graphql import (
    BLOBS,
    BOTH,
    LAST_COMMIT,
    LISTING,
    MANIFEST,
    OWN_SCORE,
    Graphql,
    alias,
    scan,
)

from devserver.graphql_limits import QueryLimits, weigh
from devserver.graphql_schema import gitlab_schema


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A server with seven projects of the worker's and a few of other people's."""
    directory = tmp_path_factory.mktemp("graphql")
    files = {
        "gpu_jobs/manifest.yaml": MANIFEST,
        "gpu_jobs/job_1/response.yaml": "state: running\n",
        "audio/take.bin": b"\0\1\2",
        "audio/big1.bin": b"\0" * 11_000_000,
        "audio/big2.bin": b"\1" * 11_000_000,
    }
    mine = [project(f"g/p{number}", files if number == 1 else {}) for number in range(1, 6)]
    config = write_world(
        directory,
        projects=[
            *mine,
            project("g/empty", empty=True),
            project("g/old", archived=True),
            project("g/guests", members={"worker": 10}),
            project("g/hidden", members={"translator": 40}),
            project("g/open", visibility="public", members={}),
        ],
        users={"reader": {"tokens": [{"value": "repo-only", "scopes": ["read_repository"]}]}},
    )
    with DevServer(directory / "root", config, in_process=True) as running:
        yield running


@pytest.fixture(scope="module")
def graphql(server: DevServer) -> Graphql:
    """The endpoint as the worker."""
    return Graphql(server)


def test_a_scan_reads_every_manifest_and_the_dirty_flag(
    graphql: Graphql, server: DevServer
) -> None:
    """One request tells what a REST client needs hundreds for."""
    nodes = graphql.data(scan(f"{BLOBS} {LAST_COMMIT}"))["projects"]["nodes"]
    found = {node["fullPath"]: node for node in nodes}
    assert {"g/p1", "g/p5", "g/empty", "g/old", "g/guests"} <= set(found)
    assert not {"g/hidden", "g/open"} & set(found)
    assert server.world is not None
    first = server.world.find_project("g/p1")
    assert first is not None
    assert found["g/p1"]["id"] == f"gid://gitlab/Project/{first.id}"
    repository = found["g/p1"]["repository"]
    assert repository["rootRef"] == "main"
    (blob,) = repository["blobs"]["nodes"]
    assert (blob["path"], blob["rawTextBlob"]) == ("gpu_jobs/manifest.yaml", MANIFEST)
    git = server.world.repository(first)
    assert blob["oid"] == (git.read_blob("main", blob["path"]) or ("",))[0]
    assert repository["tree"]["lastCommit"]["sha"] == git.head("main")


def test_python_gitlab_pages_through_projects(server: DevServer) -> None:
    """A client nobody here wrote, and cursors that lead through the list exactly once."""
    seen: list[str] = []
    with gitlab.GraphQL(server.url, token="token-worker") as client:
        query = scan("", page=3).replace("($after: String)", "")
        cursor = "null"
        while True:
            page = client.execute(query.replace("$after", cursor))["projects"]
            seen += [node["fullPath"] for node in page["nodes"]]
            cursor = json.dumps(page["pageInfo"]["endCursor"])
            if not page["pageInfo"]["hasNextPage"]:
                break
    assert len(seen) == len(set(seen)) == 8


def test_what_is_not_there_is_empty_or_null_and_no_error(graphql: Graphql) -> None:
    """Missing paths, empty repositories, code one may not read, projects one may not see."""
    parts = [
        alias("lacks", "g/p2", ["gpu_jobs/manifest.yaml"]),
        f'empty: project(fullPath: "g/empty") {{ repository {{ empty rootRef {BLOBS} {LAST_COMMIT} }} }}',
        alias("guest", "g/guests", ["README.md"]),
        alias("hidden", "g/hidden", ["README.md"]),
    ]
    query = f"{{ {' '.join(parts)} }}"
    data = graphql.data(query)
    assert data["lacks"]["repository"]["blobs"]["nodes"] == []
    assert data["empty"]["repository"] == {
        "empty": True,
        "rootRef": None,
        "blobs": {"nodes": []},
        "tree": {"lastCommit": None},
    }
    assert data["guest"] == {"repository": None}
    assert data["hidden"] is None


def test_a_blob_has_text_only_if_it_is_text(graphql: Graphql) -> None:
    """Binary content is null as text and whole as base64."""
    fields = "name size rawTextBlob base64EncodedBlob rawSize webPath"
    query = (
        '{ project(fullPath: "g/p1") { repository { blobs(paths: ["audio/take.bin"], first: 1) '
        f"{{ nodes {{ {fields} }} }} }} }} }}"
    )
    (blob,) = graphql.data(query)["project"]["repository"]["blobs"]["nodes"]
    assert blob == {
        "name": "take.bin",
        "size": "3",
        "rawTextBlob": None,
        "base64EncodedBlob": "AAEC",
        "rawSize": 3,
        "webPath": "/g/p1/-/blob/main/audio/take.bin",
    }


def test_the_content_of_several_blobs_is_limited_to_20_megabytes(graphql: Graphql) -> None:
    """Only if content is asked for, and only for more than one path."""
    blobs = 'blobs(paths: ["audio/big1.bin", "audio/big2.bin"], first: 2)'
    query = '{ project(fullPath: "g/p1") { repository { %s { nodes { %s } } } } }'
    result = graphql(query % (blobs, "rawBlob"))
    (error,) = result["errors"]
    assert error["message"] == "Max blobs size limit exceeded (21 MB / 20 MB)."
    assert error["path"] == ["project", "repository", "blobs"]
    assert result["data"]["project"]["repository"]["blobs"] is None
    graphql.data(query % (blobs, "path oid"))


def test_a_listing_names_files_below_a_folder(graphql: Graphql) -> None:
    """Recursively, and page by page."""
    listing = LISTING.replace("blobs", "blobs(first: 1, after: $after)").replace(
        "path sha", "path type"
    )
    listing = listing.replace("nodes {", "pageInfo { hasNextPage endCursor } nodes {")
    query = (
        f'query L($after: String) {{ project(fullPath: "g/p1") {{ repository {{ {listing} }} }} }}'
    )
    paths, after, more = [], None, True
    while more:
        page = graphql.data(query, after=after)["project"]["repository"]["tree"]["blobs"]
        paths += [node["path"] for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert paths == ["gpu_jobs/job_1/response.yaml", "gpu_jobs/manifest.yaml"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('ids: ["gid://gitlab/Project/1", "gid://gitlab/Project/2"], sort: "id_asc"', "g/p1 g/p2"),
        ('fullPaths: ["G/P2", "g/hidden", "nope"]', "g/p2"),
        ('membership: true, minAccessLevel: DEVELOPER, archived: ONLY, sort: "id_asc"', "g/old"),
        ('minAccessLevel: DEVELOPER, active: true, sort: "name_asc", first: 2', "g/empty g/p1"),
        ('membership: true, sort: "path_desc", first: 1', "g/p5"),
        ('search: "OPEN"', "g/open"),
    ],
)
def test_each_filter_of_projects(graphql: Graphql, arguments: str, expected: str) -> None:
    """The arguments a worker uses."""
    nodes = graphql.data(f"{{ projects({arguments}) {{ nodes {{ fullPath }} }} }}")["projects"][
        "nodes"
    ]
    assert " ".join(node["fullPath"] for node in nodes) == expected


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        (BLOBS, 40),
        (BLOBS.replace(", first: 1", ""), 56),
        (f"{BLOBS} {LISTING}", 54),
        (f"{BLOBS} {LAST_COMMIT}", 68),
        (f"{BLOBS} {BOTH}", 76),
    ],
)
def test_a_scan_costs_what_it_costs_at_gitlab(graphql: Graphql, fields: str, score: int) -> None:
    """The figures of the interface reference, for 100 projects a page."""
    complexity = graphql.data(scan(fields))["queryComplexity"]
    assert complexity == {"score": score + OWN_SCORE, "limit": 250}


@pytest.mark.parametrize(("count", "score"), [(1, 10), (2, 11), (5, 14), (10, 20), (20, 34)])
def test_an_alias_costs_what_it_costs_at_gitlab(graphql: Graphql, count: int, score: int) -> None:
    """Per project, by the number of paths."""
    part = alias("p1", "g/p1", [f"file{number}" for number in range(count)])
    query = f"{{ {part} queryComplexity {{ score limit }} }}"
    assert graphql.data(query)["queryComplexity"]["score"] == score + OWN_SCORE


@pytest.mark.parametrize(("count", "fits"), [(62, True), (63, False)])
def test_the_same_62_paths_of_100_projects_just_fit(
    graphql: Graphql, count: int, *, fits: bool
) -> None:
    """One more is too complex."""
    blobs = BLOBS.replace('["gpu_jobs/manifest.yaml"], first: 1', f"$paths, first: {count}")
    query = scan(blobs).replace("$after: String", "$after: String, $paths: [String!]!")
    query = query.replace("queryComplexity { score limit }", "")
    result = graphql(query, paths=[f"file{number}" for number in range(count)])
    assert ("errors" not in result) is fits


def test_fragments_and_skipped_fields_are_weighed_as_they_will_run(graphql: Graphql) -> None:
    """Naming a field twice costs once; what is skipped costs nothing."""
    query = """
        query Q($no: Boolean = false) {
          project(fullPath: "g/p1") { ...F id repository @skip(if: true) { rootRef } }
          currentUser @include(if: $no) { username }
          queryComplexity { score limit }
        }
        fragment F on Project { id ... on Project { id name } }
    """
    assert graphql.data(query)["queryComplexity"]["score"] == 3 + OWN_SCORE


def test_a_query_that_is_too_complex_does_not_run(graphql: Graphql, server: DevServer) -> None:
    """The limit depends on who asks."""
    parts = [alias(f"p{number}", "g/p1", ["a"] * 20) for number in range(8)]
    query = f"{{ {' '.join(parts)} }}"
    message = "Query has complexity of 272, which exceeds max complexity of {}"
    assert graphql(query) == {"errors": [{"message": message.format(250)}]}
    assert Graphql(server, "").messages(query) == [message.format(200)]
    Graphql(server, "token-admin").data(query)


def test_a_query_that_is_too_deep_does_not_run(graphql: Graphql) -> None:
    """Introspection is the only thing here that nests so far."""
    query = "{ __schema { types " + "{ ofType " * 19 + "{ name }" + " }" * 20 + " }"
    assert graphql.messages(query) == ["Query has depth of 22, which exceeds max depth of 20"]


def test_a_field_may_recur_only_twice_down_one_branch() -> None:
    """GitLab's recursion guard, asked directly: over HTTP another rule stops such queries first."""
    document = parse("{ __schema { types { fields { type { fields { type { fields { name }}}}}}}}")
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    weight = weigh(gitlab_schema(), document, operation, VariableValues({}, {}), 100)
    (message,) = weight.errors(QueryLimits(250, 20, 100))
    assert message.startswith("Recursive query - too many of fields '{\"fields\"=>3}' detected")


def test_a_batch_is_answered_query_by_query_within_one_limit(graphql: Graphql) -> None:
    """Together they may cost no more than one."""
    names = [{"query": "{ currentUser { username } }"}, {"query": "{ nope }"}]
    first, second = graphql.send(names).json()
    assert first == {"data": {"currentUser": {"username": "worker"}}}
    assert second["errors"][0]["extensions"]["code"] == "undefinedField"
    heavy = {"query": f"{{ {alias('p', 'g/p1', ['a'] * 20)} }}"}
    assert all("data" in result for result in graphql.send([heavy] * 7).json())
    refused = graphql.send([heavy] * 8).json()
    assert len(refused) == 8
    assert all("complexity of 272" in result["errors"][0]["message"] for result in refused)


def test_an_unknown_field_tells_an_old_server(graphql: Graphql) -> None:
    """200, no data, and a code that clients look for."""
    (error,) = graphql("query Scan { projects { nodes { newField } } }")["errors"]
    assert error["message"] == "Field 'newField' doesn't exist on type 'Project'"
    assert error["path"] == ["query Scan", "projects", "nodes", "newField"]
    assert error["extensions"] == {
        "code": "undefinedField",
        "typeName": "Project",
        "fieldName": "newField",
    }


def test_an_unknown_argument_is_named(graphql: Graphql) -> None:
    """The other mark of an old server."""
    (error,) = graphql("{ projects(minimum: 3) { nodes { id } } }")["errors"]
    assert error["message"] == "Field 'projects' doesn't accept argument 'minimum'"
    assert error["extensions"]["code"] == "argumentNotAccepted"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("{ projects { nodes { id }", "Syntax Error"),
        ('{ projects(ids: ["42"]) { nodes { id } } }', "does not represent an instance of Project"),
        ('{ projects(after: "zzz") { nodes { id } } }', "Please provide a valid cursor"),
        ("{ projects(first: -1) { nodes { id } } }", "must be positive"),
    ],
)
def test_a_bad_query_is_200_with_errors(graphql: Graphql, query: str, text: str) -> None:
    """HTTP has nothing to complain about."""
    (message,) = graphql.messages(query)
    assert text in message


def test_more_than_50_full_paths_are_refused(graphql: Graphql) -> None:
    """The field is null and says why."""
    paths = json.dumps([f"g/{number}" for number in range(51)])
    result = graphql(f"{{ projects(fullPaths: {paths}) {{ nodes {{ id }} }} }}")
    assert result["data"] == {"projects": None}
    assert result["errors"][0]["message"] == "You cannot provide more than 50 full_paths"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"query": "{ currentUser { id } }" + " " * 10_000}, "Query too large"),
        ([{"query": "{ a }" + " " * 6000}, {"query": "{ b }" + " " * 6000}], "Query too large"),
        ({"query": "{ currentUser { id } }", "variables": "[broken"}, "Expecting value"),
        ({"query": "{ currentUser { id } }", "variables": [1]}, "Unexpected parameter: [1]"),
    ],
)
def test_a_bad_request_is_422(graphql: Graphql, body: object, message: str) -> None:
    """Before any query is looked at."""
    refused = graphql.send(body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["message"].startswith(message)


def test_variables_may_be_json_text(graphql: Graphql) -> None:
    """As old clients send them."""
    query = "query Q($path: ID!) { project(fullPath: $path) { name } }"
    answer = graphql.send({"query": query, "variables": '{"path": "g/p1"}'})
    assert answer.json() == {"data": {"project": {"name": "p1"}}}


@pytest.mark.parametrize("token", ["wrong", "repo-only"])
def test_a_token_that_does_not_open_the_api_is_401(server: DevServer, token: str) -> None:
    """Unknown, or of a scope that is for repositories only."""
    refused = Graphql(server, token).send({"query": "{ currentUser { id } }"})
    assert (refused.status_code, refused.json()) == (
        401,
        {"errors": [{"message": "Invalid token"}]},
    )


def test_nobody_in_particular_sees_public_projects(server: DevServer) -> None:
    """No token is no error."""
    data = Graphql(server, "").data("{ currentUser { id } projects { nodes { fullPath } } }")
    assert data == {"currentUser": None, "projects": {"nodes": [{"fullPath": "g/open"}]}}


def test_reads_see_a_finished_commit_at_once(server: DevServer, graphql: Graphql) -> None:
    """The dirty flag moves with it, and only if the folder was touched."""
    query = f'{{ project(fullPath: "g/p3") {{ repository {{ {LAST_COMMIT} }} }} }}'
    shas = []
    for path in ("README2.md", "gpu_jobs/manifest.yaml", "other.txt"):
        made = requests.post(
            server.api("projects/g%2Fp3/repository/commits"),
            headers=server.headers("worker"),
            json={
                "branch": "main",
                "commit_message": "m",
                "actions": [{"action": "create", "file_path": path, "content": "x"}],
            },
            timeout=10,
        ).json()
        found = graphql.data(query)["project"]["repository"]["tree"]["lastCommit"]
        shas.append((found and found["sha"], made["id"]))
    assert shas[0][0] is None
    assert shas[1][0] == shas[1][1] == shas[2][0]
