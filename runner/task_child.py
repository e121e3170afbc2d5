"""The two entries that run a task in a child: one item and out, or item after item.

    warm:   setup ─► ask "next" ─► run ─► ask "next" with the outcome ─► … ─► told to stop
    fresh:  setup ─► run ─► result

Asking for work keeps the child in charge: between items it waits in a request, and a cancel ends that.
"""

from __future__ import annotations

import gc
import time

from runner.boundary import Raised, boundary
from runner.channel import Channel
from runner.frames import FrameError, JsonObject
from runner.peak import own_peak, own_rss_bytes
from runner.remote_error import describe
from runner.task import Task, load_task


def run_once(payload: JsonObject, channel: Channel) -> JsonObject:
    """Set the task up and run one item."""
    task = _ready_task(payload)
    channel.progress(ready=True)
    return {"output": task.run(payload["item"]), "peak": own_peak().to_json()}


def run_many(payload: JsonObject, channel: Channel) -> JsonObject:
    """Set the task up and run items until the parent has no more."""
    begun = time.perf_counter()
    task = _ready_task(payload)
    outcome: JsonObject = {"ready": True, "load_s": time.perf_counter() - begun}
    growth_limit = payload["growth_bytes"]
    baseline = 0
    while True:
        reply = _ask_for_work(channel, outcome)
        if "item" not in reply:
            return {}
        outcome = _run_item(task, reply["item"])
        # What the first item leaves behind (caches, buffers) is no growth.
        baseline = baseline or own_rss_bytes()
        if own_rss_bytes() - baseline > growth_limit:
            gc.collect()
        outcome["grown_bytes"] = own_rss_bytes() - baseline


def _ask_for_work(channel: Channel, outcome: JsonObject) -> JsonObject:
    memory = {"rss_bytes": own_rss_bytes(), "peak": own_peak().to_json()}
    try:
        return channel.request("next", {**outcome, **memory})
    except FrameError as error:  # the output is no JSON, or too large
        return channel.request("next", {"failed": describe(error, "result"), **memory})


def _ready_task(payload: JsonObject) -> Task:
    task = load_task(payload["task"]["name"], payload["task"]["options"])
    task.setup(payload["device"])
    return task


def _run_item(task: Task, item: JsonObject) -> JsonObject:
    begun = time.perf_counter()
    try:
        with boundary("run"):
            output = task.run(item)
    except Raised as raised:
        return {"failed": raised.fields, "run_s": time.perf_counter() - begun}
    return {"output": output, "run_s": time.perf_counter() - begun}
