"""Every way a child can end, produced by a real child that really does it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.children import QUICK, TESTS_DIR, nothing, run, running, until

from runner.child_process import ChildProcess, ChildSpec, Limits, Verdict
from runner.launch import Launched, launch_exec


def test_an_exception_arrives_with_class_code_message_and_traceback(tmp_path: Path) -> None:
    """The report shows the line of the entry that raised."""
    ended = run(tmp_path, "fail")

    assert ended.verdict is Verdict.FAILED
    assert ended.error is not None
    assert (ended.error.kind, ended.error.code) == ("OutOfCheese", "CHEESE")
    assert ended.error.message == "no cheese left in Ångström"
    assert "child_entries.py" in ended.error.traceback
    assert ended.detail == "OutOfCheese: no cheese left in Ångström"


@pytest.mark.parametrize(
    ("kind", "message", "verdict"),
    [
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 MiB", Verdict.OOM_GPU),
        ("RuntimeError", "CUDA failed with error out of memory", Verdict.OOM_GPU),
        ("RuntimeError", "CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`", Verdict.OOM_GPU),
        ("RuntimeError", "DefaultCPUAllocator: can't allocate memory", Verdict.OOM_HOST),
        ("RuntimeError", "CUDA error: an illegal memory access was encountered", Verdict.GPU_ERROR),
        ("RuntimeError", "CUDA error: device-side assert triggered", Verdict.GPU_ERROR),
        ("RuntimeError", "no kernel image is available for execution", Verdict.GPU_ERROR),
        ("RuntimeError", "GPU has fallen off the bus", Verdict.GPU_LOST),
    ],
)
def test_the_cause_is_recognised_below_the_error_that_wraps_it(
    tmp_path: Path, kind: str, message: str, verdict: Verdict
) -> None:
    """Handlers wrap errors; the reason code must not get lost."""
    assert run(tmp_path, "fail_with", {"kind": kind, "message": message}).verdict is verdict


def test_a_missing_library_is_told_from_a_bug(tmp_path: Path) -> None:
    """Somebody must install something."""
    ended = run(tmp_path, "missing_library")

    assert ended.verdict is Verdict.MODEL_UNAVAILABLE
    assert "surely_not_installed_anywhere" in ended.detail


@pytest.mark.parametrize(
    "entry", ["no.such.module:entry", "support.child_entries:no_such_function"]
)
def test_an_entry_that_does_not_exist_is_our_bug(tmp_path: Path, entry: str) -> None:
    """Nobody can install what we misspelt."""
    assert run(tmp_path, entry).verdict in (Verdict.FAILED, Verdict.MODEL_UNAVAILABLE)


def test_a_promised_gpu_that_is_not_there_ends_the_child(tmp_path: Path) -> None:
    """No silent fall-back to the CPU."""
    device = "GPU-00000000-1111-2222-3333-444444444444"

    ended = run(tmp_path, "echo", device=device)

    assert ended.verdict is Verdict.GPU_ERROR
    assert device in ended.detail


@pytest.mark.parametrize("entry", ["return_a_list", "return_no_json", "return_too_much"])
def test_a_result_that_is_no_result_is_the_entrys_failure(tmp_path: Path, entry: str) -> None:
    """The conversation goes on in step: the error still arrives."""
    ended = run(tmp_path, entry)

    assert ended.verdict is Verdict.FAILED
    assert ended.result is None
    assert ended.error is not None


def test_a_large_result_fits(tmp_path: Path) -> None:
    """15 MiB are no problem."""
    ended = run(tmp_path, "return_much")

    assert ended.result is not None
    assert len(ended.result["text"]) == 15 * 1024 * 1024


def test_a_huge_error_message_is_cut_not_lost(tmp_path: Path) -> None:
    """The error of the child arrives, not one about frames."""
    ended = run(tmp_path, "fail_with_huge_message")

    assert ended.error is not None
    assert ended.error.kind == "ValueError"
    assert len(ended.error.message) == 100_000


@pytest.mark.parametrize("entry", ["segfault", "abort"])
def test_a_crash_in_c_leaves_signal_and_stacks(tmp_path: Path, entry: str) -> None:
    """The stack dump names the line of the entry."""
    ended = run(tmp_path, entry)

    assert ended.verdict is Verdict.CHILD_CRASH
    assert ended.signal == (signal.SIGSEGV if entry == "segfault" else signal.SIGABRT)
    assert ended.exit_code is None
    assert f"in {entry}" in ended.stack_dump


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGKILL])
def test_a_deadly_signal_is_named(tmp_path: Path, number: signal.Signals) -> None:
    """An operator sees which one it was."""
    ended = run(tmp_path, "kill_self", {"signal": number})

    assert ended.verdict is Verdict.CHILD_CRASH
    assert ended.signal == number
    assert number.name in ended.detail


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (0, Verdict.CHILD_CRASH),
        (5, Verdict.CHILD_CRASH),
        (127, Verdict.MODEL_UNAVAILABLE),
    ],
)
def test_an_exit_without_goodbye_is_a_crash_whatever_its_code(
    tmp_path: Path, code: int, verdict: Verdict
) -> None:
    """Even exit code 0 proves nothing."""
    ended = run(tmp_path, "exit_hard", {"code": code})

    assert ended.verdict is verdict
    assert ended.exit_code == code


def test_sys_exit_is_an_error_of_the_entry(tmp_path: Path) -> None:
    """A library that calls sys.exit does not look like success."""
    ended = run(tmp_path, "exit_softly")

    assert ended.verdict is Verdict.FAILED
    assert ended.error is not None
    assert ended.error.kind == "SystemExit"


@pytest.mark.parametrize(
    "text",
    [
        "\xff\xff\xff\xff",
        "\x00\x00\x00\x00",
        "GET / HTTP/1.1\r\n\r\n",
        "\x00\x00\x00\x05hello",
        '\x00\x00\x00\x1a{"v":1,"t":"bye","seq":99}',
        '\x00\x00\x00\x1c{"v":1,"t":"config","seq":3}',
        "\x00\x00\x00\x04[[]]",
    ],
)
def test_garbage_on_the_channel_ends_the_child(tmp_path: Path, text: str) -> None:
    """There is no way back into step."""
    ended = run(tmp_path, "garbage", {"text": text})

    assert ended.verdict is Verdict.CHILD_PROTOCOL
    assert ended.detail


def test_a_child_that_hangs_up_and_stays_is_ended(tmp_path: Path) -> None:
    """The end of the stream is not the end of the process."""
    ended = run(tmp_path, "hang_up", limits=replace(QUICK, leave_timeout_s=0.2))

    assert ended.verdict is Verdict.CHILD_PROTOCOL
    assert "did not exit" in ended.detail


def test_a_hang_with_the_interpreter_lock_held_is_noticed_and_described(tmp_path: Path) -> None:
    """The fault handler writes the stacks although Python cannot run."""
    ended = run(
        tmp_path, "hold_the_lock", limits=replace(QUICK, heartbeat_timeout_s=0.5, dump_grace_s=0.5)
    )

    assert ended.verdict is Verdict.NO_PROGRESS
    assert "heartbeat" in ended.detail
    assert "in hold_the_lock" in ended.stack_dump


def test_a_heartbeat_is_no_progress(tmp_path: Path) -> None:
    """A child may be alive and yet not move."""
    ended = run(tmp_path, "stall", limits=replace(QUICK, progress_timeout_s=0.3, dump_grace_s=0.2))

    assert ended.verdict is Verdict.NO_PROGRESS
    assert "progress_timeout_s" in ended.detail
    assert "in stall" in ended.stack_dump


def test_a_long_request_is_no_stall(tmp_path: Path) -> None:
    """The clock of progress stands still while the parent works."""

    def slow(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.6)
        return {}

    limits = replace(QUICK, progress_timeout_s=0.3)
    assert run(tmp_path, "report_and_ask", {"steps": 0}, serve=slow, limits=limits).result == {}


def launch_stopped(work_dir: Path, environment: Mapping[str, str]) -> Launched:
    """Stop the interpreter before it was told anything: it stands for one that hangs."""
    launched = launch_exec(work_dir, environment)
    launched.send(signal.SIGSTOP)
    return launched


def test_a_child_that_never_says_hello_is_ended(tmp_path: Path) -> None:
    """Although it cannot even be asked."""
    limits = replace(QUICK, start_timeout_s=0.1, dump_grace_s=0.0, term_grace_s=0.1)

    ended = run(tmp_path, "echo", limits=limits, launch=launch_stopped)

    assert ended.verdict is Verdict.NO_PROGRESS
    assert "start_timeout_s" in ended.detail


def test_a_polite_cancel_reaches_the_entry(tmp_path: Path) -> None:
    """It ends by itself, in its own time."""
    with running(tmp_path, "check_forever") as child:
        child.await_progress()
        child.process.cancel("user_canceled")
        child.process.cancel("another reason")
        ended = child.end()

    assert (ended.verdict, ended.cancel_reason) == (Verdict.CANCELED, "user_canceled")
    assert ended.exit_code == 0
    assert ended.error is not None
    assert ended.error.kind == "Stopped"


def test_a_cancel_before_the_entry_starts_is_not_lost(tmp_path: Path) -> None:
    """Whatever the order of cancel and hello."""
    with running(tmp_path, "check_forever") as child:
        child.process.cancel("at once")
        ended = child.end()

    assert (ended.verdict, ended.cancel_reason) == (Verdict.CANCELED, "at once")
    assert not child.progress


def test_a_cancel_before_the_start_is_kept(tmp_path: Path) -> None:
    """A daemon may be told to stop while it prepares a job."""
    spec = ChildSpec(
        "support.child_entries:check_forever",
        {},
        tmp_path,
        tmp_path / "log",
        import_paths=(TESTS_DIR,),
    )
    child = ChildProcess(spec, serve=nothing, on_progress=print)
    child.cancel("shutdown")
    child.start()
    ended = child.wait(60)

    assert ended is not None
    assert (ended.verdict, ended.cancel_reason) == (Verdict.CANCELED, "shutdown")


def test_a_cancel_wakes_a_child_that_waits_for_a_reply(tmp_path: Path) -> None:
    """Although the parent still works on the request."""
    release: list[bool] = []

    def never(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        until(lambda: bool(release))
        return {}

    limits = replace(QUICK, grace_s=30.0, serve_timeout_s=0.05)
    with running(tmp_path, "wait_for_reply", serve=never, limits=limits) as child:
        child.await_progress()
        child.process.cancel("enough")
        ended = child.end()
        release.append(True)

    assert ended.verdict is Verdict.CANCELED
    assert ended.exit_code == 0


def test_an_entry_may_translate_the_stop(tmp_path: Path) -> None:
    """Job code has its own control-flow exception."""
    with running(tmp_path, "translate_stop") as child:
        child.await_progress()
        child.process.cancel("shutdown")
        assert child.end().verdict is Verdict.CANCELED


def test_a_canceled_child_may_save_its_work(tmp_path: Path) -> None:
    """A request that says so is served after the cancel."""
    asked: list[str] = []

    def serve(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        asked.append(name)
        return {}

    with running(tmp_path, "last_words", serve=serve, limits=replace(QUICK, grace_s=30)) as child:
        child.await_progress()
        child.process.cancel("user_canceled")
        assert child.end().verdict is Verdict.CANCELED

    assert asked == ["save"]


def test_a_child_that_ignores_the_request_gets_sigterm(tmp_path: Path) -> None:
    """It sees the signal as one more reason to stop, and may still finish."""
    with running(tmp_path, "swallow_stop", {"deaf": True}) as child:
        child.await_progress()
        child.process.cancel("user_canceled")
        ended = child.end()

    assert (ended.verdict, ended.signal) == (Verdict.CANCELED, signal.SIGKILL)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """No child can refuse to end."""
    with running(tmp_path, "ignore_everything") as child:
        child.await_progress()
        child.process.cancel("deadline")
        ended = child.end()

    assert (ended.verdict, ended.signal) == (Verdict.CANCELED, signal.SIGKILL)
    assert ended.detail == "deadline"


def test_kill_does_not_wait(tmp_path: Path) -> None:
    """Whatever grace was promised."""
    slow = Limits(grace_s=600, term_grace_s=600)
    with running(tmp_path, "ignore_everything", limits=slow) as child:
        child.await_progress()
        child.process.cancel("slowly")
        child.process.kill("at once")
        ended = child.end()

    assert (ended.verdict, ended.cancel_reason) == (Verdict.CANCELED, "slowly")


def test_cancel_and_kill_after_the_end_do_nothing(tmp_path: Path) -> None:
    """A late cancel cannot change what happened."""
    with running(tmp_path, "echo") as child:
        ended = child.end()
        child.process.cancel("late")
        child.process.kill("later")
        assert child.end() is ended
    assert ended.verdict is Verdict.SUCCEEDED


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_killed_from_outside_is_noticed(tmp_path: Path, number: signal.Signals) -> None:
    """By an operator, or by the kernel."""
    with running(tmp_path, "check_forever") as child:
        child.await_progress()
        os.kill(child.process.pid, number)
        ended = child.end()

    assert (ended.verdict, ended.signal) == (Verdict.CHILD_CRASH, number)


def test_a_stopped_child_is_ended_like_a_hung_one(tmp_path: Path) -> None:
    """SIGSTOP cannot keep a GPU busy for ever."""
    limits = replace(QUICK, heartbeat_timeout_s=0.3, dump_grace_s=0.1)
    with running(tmp_path, "check_forever", limits=limits) as child:
        child.await_progress()
        os.kill(child.process.pid, signal.SIGSTOP)
        ended = child.end()

    assert ended.verdict is Verdict.NO_PROGRESS


def test_a_forked_descendant_cannot_speak_for_the_child(tmp_path: Path) -> None:
    """Data loaders fork; only the child has the channel."""
    with running(tmp_path, "fork_a_speaker") as child:
        ended = child.end()

    assert ended.result == {"forged": False}
    assert child.progress == []


def test_a_file_beyond_the_limit_is_the_entrys_failure(tmp_path: Path) -> None:
    """A runaway log cannot fill the disk."""
    limits = replace(QUICK, file_bytes=1_000_000)

    ended = run(tmp_path, "write_a_file", {"bytes": 2_000_000}, limits=limits, serve=nothing)

    assert ended.verdict is Verdict.FAILED
    assert "too large" in ended.detail
