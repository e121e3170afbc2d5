"""The pages, as a browser would get them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from selectolax.lexbor import LexborHTMLParser
from support.devserver import DevServer
from support.rest_api import NewRepo, Repo

TAKES = ".project/attachments/pointers/RUT"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(range(200))
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def cell(cell_id: str, value: str = "", **metadata: Any) -> dict[str, Any]:
    """Return one cell of a notebook."""
    return {"value": value, "metadata": {"id": cell_id, "type": "text", "data": {}, **metadata}}


def take(name: str, created_at: int = 1, **more: Any) -> dict[str, Any]:
    """Return one attachment."""
    url = f".project/attachments/files/RUT/{name}"
    return {"url": url, "type": "audio", "createdAt": created_at, **more}


def edit(kind: str, author: str, timestamp: int) -> dict[str, Any]:
    """Return one edit of a cell's text."""
    return {"editMap": ["value"], "type": kind, "author": author, "timestamp": timestamp}


NOTEBOOK = {
    "metadata": {"fileDisplayName": "Ruth"},
    "cells": [
        cell("m", "Ruth 1", type="milestone"),
        cell(
            "u1",
            '<p>In the days<sup class="footnote-marker" data-footnote="<p>x</p>">1</sup> of</p>'
            f"<p>the judges &amp; all</p>{ATTACK}",
            data={"globalReferences": ["RUT 1:1"]},
            edits=[edit("llm-generation", "worker", 2), edit("user-edit", "ann", 1)],
            attachments={
                "a": take("a.webm", 1, metadata={"durationSec": 4.25}, createdBy="ann"),
                "b": take("b.webm", 2),
                "c": take("c.webm", 3, isDeleted=True),
            },
            selectedAudioId="a",
        ),
        cell("RUT 1:2", "", attachments={"d": take("a.webm"), "gone": take("gone.webm", 9)}),
        cell("u3", "old", data={"globalReferences": ["RUT 1:3:17-x"], "deleted": True}),
        cell("u4", "locked text", bookCode="RUT", chapter=1, verse=4, isLocked=True),
        cell("u5:paratext-1", "A heading", type="paratext"),
        {"value": 7, "metadata": None},
        "not a cell",
    ],
}
MANIFEST = f"""
version: 1
jobs:
  - {{job_id: j1, job_type: asr, mode: training, model: {{type: W2V2BERT}}, epochs: 4}}
  - {{job_id: j2, name: "{ATTACK}", job_type: asr, mode: inference, model: {{type: Whisper}}}}
  - {{job_id: j3, job_type: tts, mode: training_and_inference, model: {{type: StableTTS}}}}
  - {{job_id: j4, name: [[deep], {{a: b}}], canceled: true, epochs: {{}}}}
  - just text
"""
FILES: dict[str, str | bytes] = {
    ".gitattributes": "*.webm filter=lfs diff=lfs merge=lfs -text\n",
    "files/target/RUT.codex": json.dumps(NOTEBOOK),
    "files/target/BAD.codex": "{not json",
    f"{TAKES}/a.webm": WAV,
    f"{TAKES}/b.webm": b"OggS" + bytes(100),
    f"{TAKES}/c.webm": b"\x1a\x45\xdf\xa3" + bytes(100),
    "plain.wav": WAV,
    "page.html": ATTACK,
    "data.bin": b"\0\1\2",
    "gpu_jobs/manifest.yaml": MANIFEST,
    "gpu_jobs/job_j1/response.yaml": (
        "state: completed\nepochs_completed: 4\nworker_id: gpu-1\n"
        "timestamp: '2026-03-10T15:02:11+00:00'\n"
    ),
    "gpu_jobs/job_j1/logs.txt": "done\n",
    "gpu_jobs/job_j1/report.html": f"<!doctype html><h1>Report</h1>{ATTACK}",
    "files/report.html": ATTACK,
    "gpu_jobs/job_j1/checkpoint/training_metrics.csv": (
        "epoch,train_total_loss,val_total_loss\n0,4.0,\n1,3.0,3.5\n2,nan,\n3,2.0,2.5\n"
    ),
    "gpu_jobs/job_j2/response.yaml": "state: failed\nerror_message: No verse has audio.\n",
    "gpu_jobs/job_j3/lease/1-abc.yaml": "n: 1\n",
}


@pytest.fixture
def public(new_repo: NewRepo) -> Repo:
    """A public project with jobs, notebooks and recordings."""
    return new_repo(FILES, visibility="public")


def get(repo: Repo, tail: str = "", **options: Any) -> requests.Response:
    """Ask for a page of a project."""
    return requests.get(f"{repo.server.url}/{repo.project.path}{tail}", timeout=10, **options)


def page(repo: Repo, tail: str = "", **options: Any) -> LexborHTMLParser:
    """Return a page that is there."""
    answer = get(repo, tail, **options)
    assert answer.status_code == 200, answer.text
    return LexborHTMLParser(answer.text)


def words(node: Any) -> str:
    """Return the text of a node, blanks squeezed."""
    return " ".join(node.text(separator=" ").split())


def test_the_project_page_shows_jobs_notebooks_commits_and_files(public: Repo) -> None:
    """Everything a person wants to know first."""
    shown = page(public)
    assert public.server.url in words(shown.css_first(".clone"))
    assert [words(row) for row in shown.css(".books li a")] == ["BAD", "Ruth"]
    assert "This is not JSON" in words(shown.css(".books li")[0])
    assert [words(count) for count in shown.css(".books .count")] == ["2 / 3", "2 / 3"]
    assert words(shown.css_first(".commits .what")) == "Initial commit"
    names = [words(row) for row in shown.css(".files li")]
    assert names[:3] == [".project", "files", "gpu_jobs"]
    assert "plain.wav" in names


def test_each_job_has_the_state_the_editor_would_show(public: Repo) -> None:
    """Newest first; oddities of a foreign manifest are shown as far as they are scalars."""
    jobs = page(public).css(".job")
    assert [words(job.css_first("h3")) for job in jobs] == ["j4", "j3", ATTACK, "j1"]
    states = [[words(tag) for tag in job.css(".tag")] for job in jobs]
    assert states == [["canceling", "pending"], ["running"], ["failed"], ["completed"]]
    assert words(jobs[2].css_first(".error")) == "No verse has audio."
    done = jobs[3]
    assert "W2V2BERT · asr · training · 4 / 4 epochs · gpu-1" in words(done)
    assert [line.attributes["class"] for line in done.css("polyline")] == ["training", "validation"]
    assert "validation loss 2.5" in words(done)
    log_link = next(link for link in done.css("a") if words(link) == "log")
    log = requests.get(public.server.url + str(log_link.attributes["href"]), timeout=10)
    assert "done" in log.text


def test_a_report_is_shown_where_nothing_can_run(public: Repo) -> None:
    """As the job wrote it, but in a sandbox; other HTML of the repository is never served as HTML."""
    links = [link for link in page(public).css(".job a") if words(link) == "report"]
    assert len(links) == 1
    shown = requests.get(public.server.url + str(links[0].attributes["href"]), timeout=10)
    assert "<h1>Report</h1>" in shown.text
    policy = shown.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script-src" not in policy
    assert "allow" not in policy
    for path in ("files/report.html", "gpu_jobs/job_j1/logs.txt", "page.html"):
        assert get(public, f"/-/report/main/{path}").status_code == 404


def test_the_newest_takes_can_be_heard_on_the_project_page(public: Repo) -> None:
    """Those that count, the newest first, with their verses."""
    rows = page(public).css(".newest li")
    assert [words(row.css_first("a")) for row in rows] == ["RUT 1:1"]
    audio = rows[0].css_first("audio")
    played = requests.get(public.server.url + str(audio.attributes["src"]), timeout=10)
    assert (played.headers["Content-Type"], played.content) == ("audio/wav", WAV)
    jump = str(rows[0].css_first("a").attributes["href"])
    target = page(public, jump.removeprefix(f"/{public.project.path}").partition("#")[0])
    assert target.css_first(f"#{jump.partition('#')[2]}") is not None


def test_a_page_with_open_jobs_looks_again_by_itself(new_repo: NewRepo) -> None:
    """Without a script; a page where nothing can happen stays still."""
    manifest = "version: 1\njobs:\n  - {job_id: j1}\n"
    waiting = new_repo({"gpu_jobs/manifest.yaml": manifest}, visibility="public")
    finished = new_repo(
        {"gpu_jobs/manifest.yaml": manifest, "gpu_jobs/job_j1/response.yaml": "state: canceled\n"},
        visibility="public",
    )
    assert page(waiting).css_first("meta[http-equiv=refresh]") is not None
    assert page(finished).css_first("meta[http-equiv=refresh]") is None


@pytest.mark.parametrize(
    "manifest", ["jobs: {}", "[", "!!python/object:os.system {}", "a: &a [*a]", "x" * 2_000_000]
)
def test_a_broken_manifest_is_a_sentence_on_the_page(new_repo: NewRepo, manifest: str) -> None:
    """Never an error."""
    repo = new_repo({"gpu_jobs/manifest.yaml": manifest}, visibility="public")
    assert "manifest cannot be read" in words(page(repo).css_first("main"))


def test_a_notebook_is_a_table_of_references_text_takes_and_states(public: Repo) -> None:
    """HTML is reduced to its text; what is locked, deleted or not a verse says so."""
    shown = page(public, "/-/blob/main/files/target/RUT.codex")
    assert words(shown.css_first("h1")) == "Ruth"
    assert words(shown.css_first("tr.milestone")) == "Ruth 1"
    rows = [row for row in shown.css("tbody tr") if row.css_first(".ref") is not None]
    seen = [(words(row.css_first(".ref")), words(row.css_first(".says"))) for row in rows]
    assert seen == [
        ("RUT 1:1", "In the days of the judges & all"),
        ("RUT 1:2", "no text"),
        ("RUT 1:3", "old"),
        ("RUT 1:4", "locked text"),
        ("", "A heading"),
        ("", "7"),
    ]
    states = [words(row.css_first(".states")) for row in rows]
    assert states == ["machine text", "", "deleted", "locked", "paratext", ""]


def test_the_chosen_take_is_the_one_that_plays(public: Repo) -> None:
    """The others wait behind a fold, and a take without a file has no player."""
    shown = page(public, "/-/blob/main/files/target/RUT.codex")
    first, second = shown.css("tbody tr td.sound")[:2]
    audio = first.css_first("audio")
    assert str(audio.attributes["src"]).endswith(f"/-/audio/main/{TAKES}/a.webm")
    assert "4.2 s · ann" in words(first)
    assert words(first.css_first("summary")) == "2 other takes"
    assert "not in the repository" in words(second)
    played = requests.get(public.server.url + str(audio.attributes["src"]), timeout=10)
    assert (played.headers["Content-Type"], played.content) == ("audio/wav", WAV)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        (f"{TAKES}/a.webm", "audio/wav"),
        (f"{TAKES}/b.webm", "audio/ogg"),
        (f"{TAKES}/c.webm", "audio/webm"),
        ("plain.wav", "audio/wav"),
    ],
)
def test_audio_has_the_type_of_its_content_and_can_be_sought_in(
    public: Repo, path: str, media_type: str
) -> None:
    """In LFS or directly in git."""
    whole = get(public, f"/-/audio/main/{path}")
    assert whole.headers["Content-Type"] == media_type
    part = get(public, f"/-/audio/main/{path}", headers={"Range": "bytes=2-5"})
    assert part.status_code == 206
    assert part.content == whole.content[2:6]
    assert part.headers["Content-Range"] == f"bytes 2-5/{len(whole.content)}"
    tail = get(public, f"/-/audio/main/{path}", headers={"Range": "bytes=-3"})
    assert tail.content == whole.content[-3:]
    beyond = get(public, f"/-/audio/main/{path}", headers={"Range": "bytes=9999-"})
    assert beyond.status_code == 416


def test_raw_content_is_never_run_by_a_browser(public: Repo) -> None:
    """Text stays text, all else is a download, a pointer gives its object."""
    html = get(public, "/-/raw/main/page.html")
    assert html.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert html.text == ATTACK
    binary = get(public, "/-/raw/main/data.bin")
    assert binary.headers["Content-Type"] == "application/octet-stream"
    assert binary.headers["Content-Disposition"] == "attachment"
    assert get(public, f"/-/raw/main/{TAKES}/a.webm").content == WAV
    for answer in (html, binary):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "tail", ["", "/-/blob/main/files/target/RUT.codex", "/-/blob/main/page.html", "/-/commit/HEAD"]
)
def test_no_page_holds_a_script_or_a_foreign_tag(public: Repo, tail: str) -> None:
    """Whatever a project contains."""
    answer = get(public, tail)
    shown = LexborHTMLParser(answer.text)
    assert answer.status_code == 200
    assert shown.css("script, img, iframe, [onerror]") == []
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_folders_files_and_history_link_to_each_other(public: Repo) -> None:
    """GitLab's URL shapes."""
    base = f"/{public.project.path}/-"
    folder = page(public, "/-/tree/main/gpu_jobs")
    links = {words(link): link.attributes["href"] for link in folder.css(".files a")}
    assert links["manifest.yaml"] == f"{base}/blob/main/gpu_jobs/manifest.yaml"
    assert links["job_j1"] == f"{base}/tree/main/gpu_jobs/job_j1"
    made = public.commit(
        {"action": "update", "file_path": "gpu_jobs/job_j1/logs.txt", "content": "more\n"},
        commit_message="Say more\n\nBecause.",
    ).json()
    history = page(public, "/-/commits/main/gpu_jobs/job_j1/logs.txt")
    assert [words(row) for row in history.css(".what")] == ["Say more", "Initial commit"]
    commit = page(public, f"/-/commit/{made['id']}")
    assert words(commit.css_first("h1")) == "Say more"
    assert [words(line) for line in commit.css(".diff .add, .diff .del")] == ["-done", "+more"]


def test_a_branch_with_a_slash_is_told_from_the_path(public: Repo) -> None:
    """The longest branch name wins."""
    action = {"action": "create", "file_path": "only/here.txt", "content": "on a branch"}
    made = public.commit(action, branch="topic/one", start_branch="main")
    assert made.status_code == 201
    assert get(public, "/-/raw/topic/one/only/here.txt").text == "on a branch"
    assert get(public, f"/-/raw/{made.json()['id']}/only/here.txt").text == "on a branch"


@pytest.mark.parametrize(
    "tail",
    [
        "/-/blob/main/no",
        "/-/blob/none/README.md",
        "/-/tree/main/no",
        "/-/commit/no",
        "/-/raw/main/no",
    ],
)
def test_what_is_not_there_is_a_page_of_its_own(public: Repo, tail: str) -> None:
    """404, readable."""
    answer = get(public, tail)
    assert answer.status_code == 404
    assert words(LexborHTMLParser(answer.text).css_first("h1")) == "Not found"


def test_a_private_project_needs_a_token_and_then_a_cookie(new_repo: NewRepo) -> None:
    """Nobody learns that it exists; the cookie opens pages, not the API."""
    repo = new_repo()
    browser = requests.Session()
    address = f"{repo.server.url}/{repo.project.path}"
    assert browser.get(address, timeout=10).status_code == 404
    assert browser.get(f"{address}?private_token=token-guest", timeout=10).status_code == 404
    browser.cookies.clear()
    assert browser.get(f"{address}?private_token=token-worker", timeout=10).status_code == 200
    assert browser.get(f"{address}/-/raw/main/README.md", timeout=10).text == "# Luke\n"
    assert browser.get(repo.server.api("user"), timeout=10).status_code == 401


def test_the_list_of_projects_shows_what_the_visitor_may_see(
    new_repo: NewRepo, server: DevServer
) -> None:
    """The liveliest first."""
    private, public = new_repo(), new_repo(visibility="public")

    def listed(**options: Any) -> list[str]:
        answer = requests.get(f"{server.url}/", timeout=10, **options)
        return [words(link) for link in LexborHTMLParser(answer.text).css(".projects a")]

    assert public.project.path in listed()
    assert private.project.path not in listed()
    assert {private.project.path, public.project.path} <= set(
        listed(headers=server.headers("worker"))
    )


def test_a_long_notebook_comes_in_pages(new_repo: NewRepo) -> None:
    """Three hundred cells at a time."""
    cells = [cell(f"GEN 1:{number}", "x") for number in range(1, 701)]
    repo = new_repo({"a.codex": json.dumps({"cells": cells})}, visibility="public")
    seen: list[str] = []
    tail = ""
    while True:
        shown = page(repo, f"/-/blob/main/a.codex{tail}")
        seen += [words(node) for node in shown.css("td.ref")]
        following = [link for link in shown.css(".pager a") if "next" in words(link)]
        if not following:
            break
        tail = str(following[0].attributes["href"])
    assert seen == [f"GEN 1:{number}" for number in range(1, 701)]


def test_an_empty_project_has_a_page(new_repo: NewRepo) -> None:
    """There is something to clone, and nothing else yet."""
    repo = new_repo(None, empty=True, visibility="public")
    shown = words(page(repo).css_first("main"))
    assert "No jobs yet." in shown
    assert "No commits yet." in shown
