"""The daemon on a recorded GPU machine: `worker_entry.py` with NVML and the driver's answer replaced.

The variable RECORDED_GPUS names a JSON file with the devices of `support.nvml`; it is read anew at every
reading. A child sees the device it was promised, unless that is marked "unseen".
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.nvml import RecordedNvml

from runner import minder
from runner.orders import Orders

MACHINE = Path(os.environ["RECORDED_GPUS"])
_orders_for = minder.orders_for


class LivingNvml(RecordedNvml):
    """Reads the machine from its file whenever somebody asks; processes that have ended hold nothing."""

    def nvmlInit(self) -> None:
        self.devices = json.loads(MACHINE.read_text(encoding="utf-8"))
        for gpu in self.devices:
            held = gpu.get("processes", [])
            gpu["processes"] = [(pid, used) for pid, used in held if psutil.pid_exists(pid)]
        super().nvmlInit()


def orders_for(*arguments: Any) -> Orders:
    """Let the child's own check of its device pass, as a driver would."""
    orders = _orders_for(*arguments)
    unseen = {gpu["uuid"] for gpu in json.loads(MACHINE.read_text()) if gpu.get("unseen")}
    return orders if orders.device in unseen else replace(orders, device="cpu")


if __name__ == "__main__":
    sys.modules["pynvml"] = LivingNvml([])  # type: ignore[assignment]  # a module in all but name
    minder.orders_for = orders_for
    from worker_entry import main

    sys.exit(main(sys.argv[1:]))
