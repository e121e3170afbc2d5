"""Start, requests, progress, result: what a well-behaved child and its parent say to each other."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from support.children import no_requests, nothing, open_descriptors, run, running, until

from runner.child_process import ChildProcess, ChildSpec, Limits, StopChild, Verdict
from runner.frames import FrameError


def test_the_entry_gets_the_payload_and_its_result_comes_back(tmp_path: Path) -> None:
    """JSON goes in and out unchanged."""
    ended = run(tmp_path, "echo", {"text": "Yaüri", "n": 1, "list": [None, True]})

    assert ended.verdict is Verdict.SUCCEEDED
    assert ended.result is not None
    assert ended.result["payload"] == {"text": "Yaüri", "n": 1, "list": [None, True]}
    assert (ended.exit_code, ended.signal, ended.error, ended.cancel_reason) == (
        0,
        None,
        None,
        None,
    )


def test_usage_is_that_of_the_worker(tmp_path: Path) -> None:
    """The keeper's and the supervisor's memory do not count."""
    usage = run(tmp_path, "echo").usage

    assert 5_000_000 < usage.max_rss_bytes < 200_000_000
    assert usage.wall_s > 0
    assert usage.user_s >= 0
    assert usage.system_s >= 0


def test_a_request_is_carried_out_by_the_parent(tmp_path: Path) -> None:
    """In a thread that is not the caller's."""
    threads = []

    def serve(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return {"name": name, "sum": payload["a"] + payload["b"]}

    ended = run(tmp_path, "report_and_ask", {"steps": 0}, serve=serve)

    assert ended.result == {"name": "add", "sum": 3}
    assert threads[0] is not threading.main_thread()


def test_requests_of_many_threads_each_get_their_own_reply(tmp_path: Path) -> None:
    """Requests of one child are served one after the other."""
    running_now = threading.Lock()

    def serve(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        assert running_now.acquire(blocking=False), "two requests at once"
        try:
            return {"sum": payload["a"] + payload["b"]}
        finally:
            running_now.release()

    ended = run(tmp_path, "requests_from_threads", serve=serve)

    assert ended.result == {"differences": [0] * 8}


def test_a_failing_request_says_class_code_and_message(tmp_path: Path) -> None:
    """The child can tell what went wrong in the parent."""

    class Broken(Exception):
        code = "DISK_FULL"

    def serve(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        raise Broken("no room")

    ended = run(tmp_path, "request_that_fails", serve=serve)

    assert ended.result == {"kind": "Broken", "code": "DISK_FULL", "message": "no room"}


def test_a_reply_that_is_no_json_fails_that_request_only(tmp_path: Path) -> None:
    """The conversation stays in step."""

    def no_json(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {"x": object()}

    ended = run(tmp_path, "request_that_fails", serve=no_json)

    assert ended.result is not None
    assert ended.result["kind"] == "FrameError"


def test_progress_is_thinned_out_but_its_last_value_arrives(tmp_path: Path) -> None:
    """Progress is cheap to call and never late."""
    with running(tmp_path, "report_and_ask", {"steps": 5000}, serve=nothing) as child:
        assert child.end().verdict is Verdict.SUCCEEDED

        assert child.progress[-1] == {"step": 4999}
        assert len(child.progress) < 1000


def test_progress_arrives_while_a_request_is_carried_out(tmp_path: Path) -> None:
    """A long upload does not silence the child."""
    seen: list[int] = []

    def serve(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        until(lambda: len(child.progress) >= 3)
        seen.append(len(child.progress))
        return {}

    with running(tmp_path, "progress_during_request", serve=serve) as child:
        assert child.end().verdict is Verdict.SUCCEEDED

    assert seen[0] >= 3


def test_stop_child_from_serve_ends_the_child_with_that_reason(tmp_path: Path) -> None:
    """A lost lease is noticed while serving."""

    def serve(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        raise StopChild("lease_lost")

    ended = run(tmp_path, "wait_for_reply", serve=serve)

    assert ended.verdict is Verdict.CANCELED
    assert ended.cancel_reason == "lease_lost"


def test_stop_child_from_on_progress_ends_the_child_with_that_reason(tmp_path: Path) -> None:
    """The same from a progress report."""

    def stop(fields: dict[str, Any]) -> None:
        raise StopChild("enough")

    ended = run(tmp_path, "check_forever", on_progress=stop)

    assert (ended.verdict, ended.cancel_reason) == (Verdict.CANCELED, "enough")


def test_a_broken_on_progress_is_not_the_childs_fault(tmp_path: Path) -> None:
    """The verdict names our side."""

    def broken(fields: dict[str, Any]) -> None:
        raise ZeroDivisionError("ours")

    ended = run(tmp_path, "check_forever", on_progress=broken)

    assert ended.verdict is Verdict.INTERNAL
    assert "ours" in ended.detail


def test_frames_up_to_the_limit_pass_both_ways(tmp_path: Path) -> None:
    """15 MiB there and back."""
    large = "y" * (15 * 1024 * 1024)

    ended = run(tmp_path, "echo", {"text": large})

    assert ended.result is not None
    assert ended.result["payload"] == {"text": large}


def test_a_payload_beyond_the_limit_is_refused_at_the_start(tmp_path: Path) -> None:
    """Nothing is left running."""
    spec = ChildSpec("x:y", {"text": "z" * (17 << 20)}, tmp_path, tmp_path / "log")
    child = ChildProcess(spec, serve=no_requests, on_progress=print)

    with pytest.raises(FrameError, match="at most"):
        child.start()


def test_a_work_directory_that_is_missing_is_said_at_the_start(tmp_path: Path) -> None:
    """An unusable directory is no child's crash."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    spec = ChildSpec("x:y", {}, blocked / "work", tmp_path / "log")

    with pytest.raises(OSError, match="work"):
        ChildProcess(spec, serve=no_requests, on_progress=print).start()


def test_a_child_is_started_once_and_not_used_before(tmp_path: Path) -> None:
    """Misuse is an error, not a riddle."""
    spec = ChildSpec("x:y", {}, tmp_path, tmp_path / "log")
    with pytest.raises(RuntimeError):
        ChildProcess(spec, serve=no_requests, on_progress=print).wait(0)
    with running(tmp_path, "echo") as child, pytest.raises(RuntimeError):
        child.process.start()


def test_wait_gives_up_in_time_and_can_be_called_again(tmp_path: Path) -> None:
    """A timeout is None, the end is always the same object."""
    with running(tmp_path, "check_forever") as child:
        assert child.process.wait(0.01) is None
        child.process.cancel("done")
        assert child.end() is child.process.wait(None)


def test_the_pid_is_that_of_the_process_that_runs_the_entry(tmp_path: Path) -> None:
    """Not that of its keeper."""
    with running(tmp_path, "check_forever") as child:
        child.await_progress()
        command = Path(f"/proc/{child.process.pid}/cmdline").read_bytes()
        assert b"runner.child" in command
        assert os.getpgid(child.process.pid) == child.process.pid


def test_the_child_lives_in_a_world_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No secret, descriptor or setting of ours reaches a child."""
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-secret-secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:password@proxy")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    with (tmp_path / "open.txt").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        ended = run(tmp_path, "environment", environment={"HF_HOME": "/models"})
    world = ended.result
    assert world is not None

    variables = world["environment"]
    assert "glpat" not in str(variables)
    assert not {"GITLAB_TOKEN", "HTTPS_PROXY", "NOTIFY_SOCKET"} & set(variables)
    assert variables["HF_HOME"] == "/models"
    assert variables["CUDA_VISIBLE_DEVICES"] == ""
    work_dir = str(tmp_path / "work")
    assert all(
        variables[name].startswith(work_dir) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")
    )
    assert world["cwd"] == work_dir
    assert world["session"] != os.getsid(0)
    assert world["stdin"] == "/dev/null"
    assert int(world["oom_score_adj"]) == 500
    assert world["core"] == 0
    assert world["files"] <= 8192
    assert world["no_new_privs"]
    assert "secret" not in world["argv"]
    # 0, 1, 2, the channel, the stack dump, and the directory being listed.
    assert len(world["descriptors"]) == 6


def test_output_of_every_origin_lands_in_the_log_in_order(tmp_path: Path) -> None:
    """Python, C, grand-children, and a last line without an end."""
    with running(tmp_path, "chatter") as child:
        ended = child.end()
        log = child.log_path.read_text()

    assert ended.last_lines == (
        "from python",
        "to stderr",
        "from c",
        "from a grand-child",
        "last words without a line end",
    )
    assert all(line in log for line in ended.last_lines)


def test_megabytes_from_c_do_not_block_and_stay_bounded(tmp_path: Path) -> None:
    """Head and tail stay, the middle goes, and says so."""
    limits = Limits(log_bytes=200_000)
    with running(tmp_path, "megabytes", {"lines": 40_000}, limits=limits) as child:
        ended = child.end()
        log = child.log_path.read_text()

    assert ended.verdict is Verdict.SUCCEEDED
    assert len(log) < 260_000
    assert "00000000 x" in log
    assert "00039999 x" in log
    assert "bytes left out" in log
    assert ended.last_lines[-1].startswith("00039999")


def test_secrets_are_masked_before_they_reach_the_disk_even_when_written_in_pieces(
    tmp_path: Path,
) -> None:
    """The mask sees whole lines."""

    def mask(line: bytes) -> bytes:
        return line.replace(b"hunter2hunter2", b"[MASKED]")

    with running(tmp_path, "say", {"parts": ["key hunter2", "hunter2 x\n"]}, mask=mask) as child:
        ended = child.end()
        log = child.log_path.read_text()

    assert "hunter2" not in log
    assert ended.last_lines == ("key [MASKED] x",)


def test_a_mask_that_fails_lets_nothing_through(tmp_path: Path) -> None:
    """Fail closed, and count."""

    def broken(line: bytes) -> bytes:
        if b"bad" in line:
            raise ValueError(line)
        return line

    with running(tmp_path, "say", {"parts": ["good\nbad secret\n"]}, mask=broken) as child:
        ended = child.end()
        log = child.log_path.read_text()

    assert ended.verdict is Verdict.SUCCEEDED
    assert "secret" not in log
    assert "1 lines dropped" in log


def test_twenty_children_leave_no_descriptor_and_no_thread_behind(tmp_path: Path) -> None:
    """The supervisor runs for months."""
    run(tmp_path, "report_and_ask", {"steps": 1}, serve=nothing)
    threads, descriptors = threading.active_count(), open_descriptors()

    for _ in range(20):
        ended = run(tmp_path, "report_and_ask", {"steps": 1}, serve=nothing)
        assert ended.verdict is Verdict.SUCCEEDED

    until(lambda: open_descriptors() <= descriptors)
    until(lambda: threading.active_count() <= threads)
