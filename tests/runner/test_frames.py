"""The frame codec against everything that can be on a byte stream."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.frames import (
    FROM_CHILD,
    MAX_FRAME_BYTES,
    FrameDecoder,
    FrameEncoder,
    FrameError,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
PAYLOADS = st.lists(st.dictionaries(st.text(min_size=4), JSON, max_size=4), max_size=8)


def packed(text: str) -> bytes:
    """A frame with a right length and any text."""
    body = text.encode()
    return len(body).to_bytes(4, "big") + body


@given(PAYLOADS, st.data())
def test_frames_survive_any_cut(payloads: list[dict[str, Any]], data: st.DataObject) -> None:
    """A stream has no borders but the lengths."""
    encoder, decoder = FrameEncoder(), FrameDecoder(FROM_CHILD)
    stream = b"".join(encoder.encode("progress", {"fields": fields}) for fields in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))

    received = [
        frame["fields"]
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for frame in decoder.feed(stream[begin:end])
    ]

    assert received == payloads


@given(st.binary(max_size=200))
def test_any_bytes_end_in_frames_or_in_a_frame_error(data: bytes) -> None:
    """Nothing else ever comes out of the decoder."""
    decoder = FrameDecoder(FROM_CHILD)
    try:
        frames = list(decoder.feed(data))
    except FrameError:
        return
    assert all(frame["t"] in FROM_CHILD for frame in frames)


@settings(max_examples=50)
@given(PAYLOADS.filter(bool), st.data())
def test_a_changed_byte_is_never_taken_for_another_frame_type_or_number(
    payloads: list[dict[str, Any]], data: st.DataObject
) -> None:
    """What is accepted is numbered without a gap."""
    encoder, decoder = FrameEncoder(), FrameDecoder(FROM_CHILD)
    stream = bytearray(b"".join(encoder.encode("heartbeat", fields) for fields in payloads))
    position = data.draw(st.integers(0, len(stream) - 1))
    stream[position] ^= data.draw(st.integers(1, 255))
    accepted = []
    with suppress(FrameError):
        accepted.extend(decoder.feed(bytes(stream)))
    assert [frame["seq"] for frame in accepted] == list(range(len(accepted)))


@pytest.mark.parametrize(
    "text",
    [
        '{"v":2,"t":"bye","seq":0}',
        '{"v":1,"t":"bye","seq":1}',
        '{"v":1,"t":"bye","seq":false}',
        '{"v":1,"t":"bye"}',
        '{"v":1,"t":"cancel","seq":0}',
        '{"v":1,"t":["bye"],"seq":0}',
        '{"v":1,"t":"bye","seq":0,"x":NaN}',
        "[1,2,3]",
        "not json",
        "{}",
        "[" * 100_000,
    ],
)
def test_a_frame_that_may_not_come_is_refused(text: str) -> None:
    """Version, type, direction, number, form."""
    with pytest.raises(FrameError):
        list(FrameDecoder(FROM_CHILD).feed(packed(text)))


def test_text_that_is_no_utf_8_is_refused() -> None:
    """Such bytes are no text of ours."""
    with pytest.raises(FrameError):
        list(FrameDecoder(FROM_CHILD).feed(b"\x00\x00\x00\x02\xff\xfe"))


@pytest.mark.parametrize("length", [0, 1, MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_an_impossible_length_is_refused_before_anything_is_read(length: int) -> None:
    """No memory is reserved for a number."""
    with pytest.raises(FrameError, match="length"):
        list(FrameDecoder(FROM_CHILD).feed(length.to_bytes(4, "big")))


@pytest.mark.parametrize(
    "fields",
    [{"x": object()}, {"x": float("nan")}, {"x": "a" * MAX_FRAME_BYTES}, {("a", "b"): 1}],
)
def test_a_refused_frame_does_not_use_up_its_number(fields: dict[Any, Any]) -> None:
    """The conversation can go on with another one."""
    encoder, decoder = FrameEncoder(), FrameDecoder(FROM_CHILD)
    with pytest.raises(FrameError):
        encoder.encode("result", fields)

    assert [frame["seq"] for frame in decoder.feed(encoder.encode("bye"))] == [0]


def test_lone_surrogates_of_file_names_pass() -> None:
    """A file name may be no UTF-8, and still must be reported."""
    frame = FrameEncoder().encode("progress", {"fields": {"file": "a\udcff.wav"}})

    assert next(FrameDecoder(FROM_CHILD).feed(frame))["fields"] == {"file": "a\udcff.wav"}


def test_throughput_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Print frames per second through both halves of the codec, for the record."""
    count = 20_000
    fields = {"fields": {"step": 17, "loss": 0.25, "message": "epoch 3 of 10"}}
    encoder, decoder = FrameEncoder(), FrameDecoder(FROM_CHILD)
    begun = time.perf_counter()
    stream = b"".join(encoder.encode("progress", fields) for _ in range(count))
    received = sum(
        1
        for begin in range(0, len(stream), 65536)
        for _ in decoder.feed(stream[begin : begin + 65536])
    )
    elapsed_s = time.perf_counter() - begun
    with capsys.disabled():
        sys.stderr.write(f"\nframes: {count / elapsed_s:,.0f}/s encoded and decoded\n")
    assert received == count
    assert json.loads(stream[4:].partition(b"\x00")[0])["seq"] == 0
