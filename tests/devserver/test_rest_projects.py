"""The project list: filters, orders, pages by number and by key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.devserver import DevServer, project, user, write_world
from support.gitlab_schemas import check_entity, check_response, check_schema
from support.rest_api import Api

COUNT = 25
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """Twenty-five projects of the worker's with known activity, and three of other kinds."""
    directory: Path = tmp_path_factory.mktemp("fleet")
    projects = [
        project(f"bible/p{number:02}", members={"worker": 40 if number % 2 else 30}, empty=True)
        for number in range(COUNT)
    ]
    projects += [
        project("bible/public", members={}, visibility="public"),
        project("bible/hidden", members={"translator": 40}),
        project("bible/old", members={"worker": 30}, archived=True),
        project("lonely/own", members={}),
    ]
    config = write_world(directory, projects=projects, users={"lonely": user()})
    with DevServer(directory / "root", config, in_process=True) as server:
        assert server.world is not None
        for found in server.world.projects:
            server.world.touch(found, EPOCH + timedelta(days=found.id))
        yield server


@pytest.fixture
def api(fleet: DevServer) -> Api:
    """The fleet as the worker sees it."""
    return Api(fleet, "worker")


def names(api: Api, **params: object) -> list[str]:
    """The paths of the projects one request lists."""
    answer = api.get("projects", params={"per_page": 100, **params})
    assert answer.status_code == 200, answer.text
    return [item["path"] for item in answer.json()]


def test_both_forms_are_described_as_gitlab_does(api: Api) -> None:
    """Simple and full, in lists and alone."""
    simple = api.get("projects", params={"simple": "true"}).json()
    check_response("GET /api/v4/projects", 200, simple)
    for item in simple:
        check_entity("project.json", item)
    full = api.get("projects").json()
    for item in full:
        check_schema("APIEntitiesProjectWithAccess", item)
    one = api.get(f"projects/{full[0]['id']}").json()
    check_response("GET /api/v4/projects/{id}", 200, one)
    assert one["permissions"]["project_access"]["access_level"] in (30, 40)


def test_visibility_decides_what_is_listed(fleet: DevServer, api: Api) -> None:
    """Members, anyone and administrators see different lists."""
    assert "public" in names(api)
    assert "hidden" not in names(api)
    assert names(Api(fleet)) == ["public"]
    assert "hidden" in names(Api(fleet, "admin"))


def test_membership_leaves_out_what_is_merely_visible(fleet: DevServer, api: Api) -> None:
    """Also for an administrator, who sees everything."""
    assert len(names(api, membership="true")) == COUNT + 1
    assert names(Api(fleet, "admin"), membership="true") == []
    assert names(Api(fleet, "lonely"), membership="true") == ["own"]
    assert names(Api(fleet, "lonely"), owned="true") == ["own"]


def test_min_access_level_implies_membership(api: Api) -> None:
    """The filter a worker scans with."""
    assert len(names(api, min_access_level=30)) == COUNT + 1
    assert len(names(api, min_access_level=40)) == COUNT // 2
    assert names(api, min_access_level=50) == []


def test_archived_projects_are_listed_unless_asked_otherwise(api: Api) -> None:
    """The default is both."""
    assert "old" in names(api)
    assert "old" not in names(api, archived="false")
    assert names(api, archived="true") == ["old"]
    assert "old" not in names(api, active="true")


def test_activity_filters_are_strict(api: Api) -> None:
    """Greater and less, never equal."""
    tenth = (EPOCH + timedelta(days=10)).isoformat()
    after = names(api, membership="true", last_activity_after=tenth)
    before = names(api, membership="true", last_activity_before=tenth)
    assert "p09" not in after + before
    assert "p10" in after
    assert "p08" in before


def test_a_plus_sign_sent_bare_spoils_the_moment(api: Api) -> None:
    """A plus sign in a query is a space."""
    answer = api.get("projects?last_activity_after=2026-01-10T00:00:00+00:00")
    assert (answer.status_code, answer.json()) == (400, {"error": "last_activity_after is invalid"})


def test_orders_and_directions(api: Api) -> None:
    """Descending unless told otherwise; unknown orders are refused."""
    newest_first = names(api, membership="true", order_by="last_activity_at")
    assert newest_first[0] == "old"
    assert newest_first[1:4] == ["p24", "p23", "p22"]
    assert names(api, order_by="path", sort="asc", archived="false")[:2] == ["p00", "p01"]
    wrong = api.get("projects", params={"order_by": "size"})
    assert (wrong.status_code, wrong.json()) == (
        400,
        {"error": "order_by does not have a valid value"},
    )


def test_updated_after_needs_its_own_order(api: Api) -> None:
    """The pairing GitLab insists on."""
    answer = api.get("projects", params={"updated_after": "2026-01-01T00:00:00Z"})
    assert answer.status_code == 400
    assert answer.json() == {
        "message": "400 Bad request - `updated_at` filter and `updated_at` sorting must be paired"
    }


def test_numbered_pages_carry_totals_and_links(api: Api) -> None:
    """Counts, neighbours, and URLs that keep the filters."""
    answer = api.get("projects", params={"membership": "true", "per_page": 10, "page": 2})
    headers = answer.headers
    assert (headers["X-Page"], headers["X-Per-Page"]) == ("2", "10")
    assert (headers["X-Prev-Page"], headers["X-Next-Page"]) == ("1", "3")
    assert (headers["X-Total"], headers["X-Total-Pages"]) == (str(COUNT + 1), "3")
    assert set(answer.links) == {"prev", "next", "first", "last"}
    assert "membership=true" in answer.links["next"]["url"]
    last = api.session.get(answer.links["last"]["url"], timeout=10)
    assert len(last.json()) == 6
    assert last.headers["X-Next-Page"] == ""
    assert "next" not in last.links


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"page": "x"}, "page is invalid"),
        ({"page": 0}, "page does not have a valid value"),
        ({"per_page": 0}, "per_page does not have a valid value"),
    ],
)
def test_impossible_pages_are_refused(api: Api, params: dict[str, object], error: str) -> None:
    """Not numbers, or below one."""
    answer = api.get("projects", params=params)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_page_is_clipped_at_a_hundred(api: Api) -> None:
    """More is not an error."""
    assert api.get("projects", params={"per_page": 1000}).headers["X-Per-Page"] == "100"


def test_keyset_pages_end_with_an_empty_one(api: Api) -> None:
    """A short page still links on; only the empty one ends."""
    url = api.server.api(
        "projects?pagination=keyset&order_by=id&sort=asc&per_page=10&membership=true"
    )
    sizes, ids = [], []
    while True:
        answer = api.session.get(url, timeout=10)
        assert "X-Total" not in answer.headers
        sizes.append(len(answer.json()))
        ids += [item["id"] for item in answer.json()]
        if "next" not in answer.links:
            break
        url = answer.links["next"]["url"]
    assert sizes == [10, 10, 6, 0]
    assert ids == sorted(set(ids))


def test_keyset_descends_by_id_before(api: Api) -> None:
    """The default direction turns the key around."""
    params = {"pagination": "keyset", "order_by": "id", "per_page": 5}
    answer = api.get("projects", params=params)
    ids = [item["id"] for item in answer.json()]
    assert ids == sorted(ids, reverse=True)
    assert f"id_before={ids[-1]}" in answer.links["next"]["url"]


def test_keyset_wants_the_order_by_id(api: Api) -> None:
    """The default order is another one."""
    answer = api.get("projects", params={"pagination": "keyset"})
    assert answer.status_code == 405
    assert answer.json() == {
        "error": "Keyset pagination is not yet available for this type of request"
    }


def test_the_default_branch_does_not_prove_a_commit(api: Api) -> None:
    """An empty repository names a branch too."""
    found = api.get("projects/bible%2Fp00").json()
    assert found["default_branch"] == "main"
    assert found["empty_repo"] is True
    assert found["readme_url"] is None


def test_a_user_owns_the_projects_in_their_namespace(fleet: DevServer) -> None:
    """No membership is needed there."""
    found = Api(fleet, "lonely").get("projects/lonely%2Fown").json()
    assert found["permissions"]["project_access"]["access_level"] == 50
    assert found["namespace"]["kind"] == "user"
