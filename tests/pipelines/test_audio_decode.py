"""Decoding by content: real encoded files in the forms that takes come in, and files that are none."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from support.sound import tone, write_browser_webm, write_recording, write_video
from support.speech import spoken_clip

from pipelines.audio.decode import decode, decode_blocks
from pipelines.audio.encode import FORMATS, encode
from pipelines.errors import AudioUnreadable, PipelineError

RATE = 16_000


def _pitch_hz(samples, rate_hz=RATE):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate_hz / len(samples))


def _is_the_tone(samples, seconds=2.0, frequency_hz=440.0):
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) / RATE == pytest.approx(seconds, abs=0.15)
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    assert _pitch_hz(middle) == pytest.approx(frequency_hz, abs=3.0)
    assert float(np.sqrt(2 * np.mean(middle**2))) == pytest.approx(0.5, abs=0.03)
    return True


@pytest.mark.parametrize(
    ("container", "codec", "sample_format", "rate_hz"),
    [
        ("wav", "pcm_s16le", "s16", 44_100),
        ("wav", "pcm_f32le", "flt", 8_000),
        ("flac", "flac", "s16", 48_000),
        ("ogg", "libopus", "flt", 48_000),
        ("mp3", "libmp3lame", "fltp", 22_050),
        ("mp4", "aac", "fltp", 44_100),
        ("matroska", "pcm_s16le", "s16", 16_000),
        ("adts", "aac", "fltp", 32_000),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_formats_are_told_by_content(tmp_path, container, codec, sample_format, rate_hz, channels):
    """Every format under a wrong suffix, mono and stereo, at odd rates."""
    sound = np.stack([tone(2.0, rate_hz)] * channels)
    path = write_recording(
        tmp_path / "take.m4a",
        sound,
        rate_hz=rate_hz,
        container=container,
        codec=codec,
        sample_format=sample_format,
    )
    assert _is_the_tone(decode(path, RATE).samples)


def test_an_mp3_named_m4a_is_read(tmp_path):
    """The editor stores uploads under the suffix of their claimed type."""
    encoded = encode(tone(2.0), RATE, tmp_path / "take.mp3", "mp3")
    misnamed = encoded.path.rename(tmp_path / "take.m4a")
    assert _is_the_tone(decode(misnamed).samples)


def test_a_browser_recording_without_duration_is_measured_by_decoding(tmp_path):
    """WebM from a browser's recorder has no length in its header."""
    path = write_browser_webm(tmp_path / "take.webm", tone(2.0, 48_000))
    with av.open(str(path)) as container:
        assert container.duration is None
    assert _is_the_tone(decode(path).samples)


def test_the_sound_of_a_video_is_used(tmp_path):
    """Some takes are videos."""
    assert _is_the_tone(decode(write_video(tmp_path / "take.webm", tone(2.0, 44_100))).samples)


def test_channels_are_averaged(tmp_path):
    """Opposed channels cancel out; neither is dropped."""
    left, right = tone(1.0, frequency_hz=300.0), -tone(1.0, frequency_hz=300.0)
    path = tmp_path / "opposed.wav"
    soundfile.write(path, np.stack([left, right], axis=1), RATE)
    assert float(np.abs(decode(path).samples).max()) < 1e-3


def test_values_that_are_no_numbers_become_silence(tmp_path):
    """Float recordings can hold anything."""
    sound = tone(1.0)
    sound[100:200] = np.nan
    sound[300] = np.inf
    path = tmp_path / "broken.wav"
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    assert np.isfinite(decode(path).samples).all()


def test_pieces_make_up_the_whole():
    """Reading in pieces gives the same samples."""
    path = spoken_clip("LJ001-0001").path
    blocks = list(decode_blocks(path))
    assert len(blocks) > 5
    assert np.array_equal(np.concatenate(blocks), decode(path).samples)


def test_a_truncated_recording_gives_what_is_there(tmp_path):
    """A lost end costs the end."""
    encoded = encode(tone(4.0), RATE, tmp_path / "take.mp3", "mp3")
    content = encoded.path.read_bytes()
    encoded.path.write_bytes(content[: len(content) // 2])
    assert _is_the_tone(decode(encoded.path).samples, seconds=2.0)


def test_a_recording_beyond_the_limit_is_refused(tmp_path):
    """Length is counted while decoding, not believed."""
    encode(tone(3.0), RATE, tmp_path / "long.wav", "wav")
    with pytest.raises(AudioUnreadable, match="longer than"):
        decode(tmp_path / "long.wav", max_duration_s=2.0)


def test_more_than_eight_channels_are_refused(tmp_path):
    """No plausible take has them."""
    path = tmp_path / "many.wav"
    soundfile.write(path, np.zeros((1000, 10), np.float32), RATE)
    with pytest.raises(AudioUnreadable, match="10 channels"):
        decode(path)


def _playlist(folder: Path, target: Path) -> Path:
    path = folder / "list.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n")
    return path


def _concatenation(folder: Path, target: Path) -> Path:
    path = folder / "list.ffconcat"
    path.write_text(f"ffconcat version 1.0\nfile '{target.name}'\n")
    return path


def _session(folder: Path, target: Path) -> Path:
    path = folder / "stream.sdp"
    path.write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
    )
    return path


@pytest.mark.parametrize("write", [_playlist, _concatenation, _session])
def test_files_that_name_other_files_are_never_followed(tmp_path, write):
    """A take must not make the worker read other files or open connections."""
    target = encode(tone(2.0), RATE, tmp_path / "secret.wav", "wav").path
    with pytest.raises(AudioUnreadable, match="known format"):
        decode(write(tmp_path, target))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "known format"),
        (b"<html><body>Not found</body></html>", "known format"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "."),
        (b"\x1aE\xdf\xa3" + bytes(64), "."),
        (bytes(range(256)) * 64, "."),
    ],
)
def test_files_that_are_no_recording_say_so(tmp_path, content, reason):
    """Each kind of rubbish is refused as such, never with another exception."""
    path = tmp_path / "take.wav"
    path.write_bytes(content)
    with pytest.raises(AudioUnreadable, match=reason):
        decode(path)


def test_a_missing_file_and_a_silent_video_say_so(tmp_path):
    """Both are named for what they are."""
    with pytest.raises(AudioUnreadable, match="no such file"):
        decode(tmp_path / "gone.wav")
    with pytest.raises(AudioUnreadable, match="no audio track"):
        decode(write_video(tmp_path / "mute.mp4", None))


def test_a_header_without_samples_is_no_recording(tmp_path):
    """Nothing was recorded."""
    path = tmp_path / "empty.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
    with pytest.raises(AudioUnreadable, match="no sound"):
        decode(path)


@pytest.mark.parametrize("audio_format", sorted(FORMATS))
def test_what_is_written_plays_as_it_was(tmp_path, audio_format):
    """Each output format survives a round trip and leaves no partial file."""
    path = tmp_path / f"take.{audio_format}"
    encoded = encode(tone(2.0), RATE, path, audio_format)
    assert (encoded.sample_rate_hz, encoded.channels) == (48_000, 1)
    assert encoded.duration_s == pytest.approx(2.0, abs=0.01)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.sample_rate, stream.codec_context.channels) == (48_000, 1)
    assert _is_the_tone(decode(path).samples)
    assert list(tmp_path.iterdir()) == [path]


def test_loud_samples_are_clipped_not_wrapped(tmp_path):
    """Overshoot must not turn into noise."""
    encode(tone(1.0, amplitude=3.0), RATE, tmp_path / "loud.wav", "wav")
    samples = decode(tmp_path / "loud.wav", 48_000).samples
    assert float(np.abs(samples).max()) <= 1.0
    assert _pitch_hz(samples, 48_000) == pytest.approx(440.0, abs=3.0)


def test_an_unknown_format_is_refused(tmp_path):
    """The message lists the known ones."""
    with pytest.raises(PipelineError, match="webm"):
        encode(tone(1.0), RATE, tmp_path / "x.wma", "wma")
