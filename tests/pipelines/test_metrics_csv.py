"""The loss curve, read as the editor reads it."""

from __future__ import annotations

import math

from pipelines.training.metrics_csv import MetricsLog

COLUMNS = ("train_total_loss", "val_cer")


def _as_the_editor_reads(path):
    header, *lines = path.read_text("ascii").strip().split("\n")
    names = header.split(",")
    return [dict(zip(names, line.split(","), strict=False)) for line in lines]


def test_missing_values_are_blank_cells(tmp_path):
    """Gaps, also for values that are not finite."""
    log = MetricsLog(tmp_path / "m.csv", COLUMNS)
    log.append(1, {"train_total_loss": 2.5})
    log.append(2, {"train_total_loss": math.nan, "val_cer": math.inf})
    log.append(3, {"train_total_loss": 1.0, "val_cer": 0.25})
    assert (tmp_path / "m.csv").read_text("ascii").splitlines() == [
        "epoch,train_total_loss,val_cer",
        "1,2.5,",
        "2,,",
        "3,1,0.25",
    ]


def test_a_very_long_run_stays_readable(tmp_path):
    """Thinned, in order, first and last kept."""
    log = MetricsLog(tmp_path / "m.csv", COLUMNS, max_rows=100)
    for epoch in range(1, 1000):
        log.append(epoch, {"train_total_loss": 1.0 / epoch})
    epochs = [int(row["epoch"]) for row in _as_the_editor_reads(tmp_path / "m.csv")]
    assert len(epochs) <= 100
    assert epochs == sorted(set(epochs))
    assert (epochs[0], epochs[-1]) == (1, 999)


def test_a_resumed_run_writes_no_epoch_twice(tmp_path):
    """Rows after the resumed epoch are forgotten."""
    path = tmp_path / "m.csv"
    log = MetricsLog(path, COLUMNS)
    for epoch in (1, 2, 3, 4):
        log.append(epoch, {"train_total_loss": epoch})
    resumed = MetricsLog(path, COLUMNS)
    resumed.cut_back(2)
    resumed.append(3, {"train_total_loss": 30.0})
    rows = _as_the_editor_reads(path)
    assert [(row["epoch"], row["train_total_loss"]) for row in rows] == [
        ("1", "1"),
        ("2", "2"),
        ("3", "30"),
    ]


def test_no_partial_file_is_left(tmp_path):
    """The file is replaced whole."""
    MetricsLog(tmp_path / "m.csv", COLUMNS).append(1, {})
    assert [path.name for path in tmp_path.iterdir()] == ["m.csv"]
