"""Reading manifests: the editor's own examples and everything a person may have made of them.

Numbers in test names are the interop cases of the job protocol.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.manifests import EXAMPLES, entry, manifest_of

from gitlab_jobs.errors import ManifestError
from gitlab_jobs.job import Job, JobType, Mode, ModelSpec, VerseFilter
from gitlab_jobs.manifest import Manifest, order_key, parse_manifest
from gitlab_jobs.yaml_text import dump_yaml, load_yaml


def read(*entries: Any) -> Manifest:
    """Parse a manifest of these entries."""
    return parse_manifest(manifest_of(*entries))


def only_job(**changes: Any) -> Job:
    """Parse one valid entry with these changes."""
    found = read(entry(**changes))
    assert found.problems == ()
    return found.jobs[0]


def only_problem(**changes: Any) -> str:
    """Parse one bad entry between two good ones; both are served, and its words come back."""
    found = read(entry(job_id="good1"), entry(job_id="bad", **changes), entry(job_id="good2"))
    assert [job.job_id for job in found.jobs] == ["good1", "good2"]
    (problem,) = found.problems
    assert (problem.job_id, problem.position) == ("bad", 2)
    assert found.ids == {"good1", "bad", "good2"}
    return problem.message


def test_case_01_the_editors_plain_training_job() -> None:
    """Absent fields have their defaults, the date its zone."""
    (job,) = parse_manifest(EXAMPLES["tts_training"].encode()).jobs
    assert job == Job(
        job_id="mmkbkzk0_sx1fl0nwmy",
        job_type=JobType.TTS,
        mode=Mode.TRAINING,
        model=ModelSpec(type="StableTTS"),
        submitted_at=datetime(2026, 3, 10, 8, tzinfo=UTC),
        epochs=100,
    )


def test_the_editors_other_examples() -> None:
    """Include lists, voices, both filters, cancel, post-processor, quoted words."""
    (include,) = parse_manifest(EXAMPLES["tts_include"].encode()).jobs
    assert include.name == "Yes: second run #2"
    assert include.training.include[0] == "5e7dadd4-9879-026e-82d9-803379220001"
    assert include.training.include[2] == "JHN 1:1"
    assert include.model.base_checkpoint == (
        "gpu_jobs/job_mmkbkzk0_sx1fl0nwmy/checkpoint/best_model.pt"
    )
    default_voice, chosen_voice = parse_manifest(EXAMPLES["tts_inference"].encode()).jobs
    assert default_voice.voice_reference is None
    assert chosen_voice.voice_reference == ".project/attachments/pointers/MAT/audio-mat-1-1.webm"
    (both,) = parse_manifest(EXAMPLES["tts_both"].encode()).jobs
    assert both.canceled
    assert both.training == VerseFilter(exclude=("5e7dadd4-9879-026e-82d9-803379220005",))
    assert both.inference == VerseFilter(include=("JHN 1:2",))
    first, second, third = parse_manifest(EXAMPLES["asr"].encode()).jobs
    assert (first.transmorgrifier, second.transmorgrifier, third.transmorgrifier) == (
        True, None, False,
    )  # fmt: skip
    assert (third.name, third.description) == ("no", "~")


@pytest.mark.parametrize(
    "text",
    [
        "version: 2\njobs: []",
        "version: '1'\njobs: []",
        "version: true\njobs: []",
        "jobs: []",
        "",
        "- a\n- b",
        "just words",
        "version: 1",
        "version: 1\njobs: {}",
        "version: 1\njobs: 7",
        "version: 1\njobs: [",
        "<<<<<<< HEAD\nversion: 1\n=======\nversion: 1\n>>>>>>> theirs\njobs: []",
        "version: 1\nversion: 1\njobs: []",
        "version: 1\njobs: &a []",
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    ],
)
def test_case_03_an_unreadable_manifest_is_one_clear_error(text: str) -> None:
    """Whatever is wrong as a whole, including conflict markers, is one error."""
    with pytest.raises(ManifestError, match="manifest"):
        parse_manifest(text.encode())


def test_a_float_version_and_unknown_top_level_keys_are_fine() -> None:
    """The client compares numbers, so 1.0 is 1."""
    assert parse_manifest(b"version: 1.0\nthanks: you\njobs: []").jobs == ()


def test_case_04_dates_quoted_or_not() -> None:
    """Every spelling of the same moment is the same moment, in UTC."""
    spellings = [
        "'2026-03-10T08:00:00.000Z'",
        "2026-03-10T08:00:00.000Z",
        "2026-03-10T08:00:00Z",
        "2026-03-10 08:00:00",
        "2026-03-10 08:00:00 +00:00",
        "2026-03-10T10:00:00+02:00",
        "1773129600000",
        "1773129600",
    ]
    text = "version: 1\njobs:\n" + "".join(
        f"  - {{job_id: j{n}, job_type: asr, mode: training, model: {{type: X}}, submitted_at: {at}}}\n"
        for n, at in enumerate(spellings)
    )
    jobs = parse_manifest(text.encode()).jobs
    assert [job.submitted_at for job in jobs] == [datetime(2026, 3, 10, 8, tzinfo=UTC)] * 8


def test_case_05_jobs_without_a_date_go_last() -> None:
    """Ties go by id, and an unreadable date counts as none."""
    found = read(
        entry(job_id="none", submitted_at=None),
        entry(job_id="odd", submitted_at="yesterday"),
        entry(job_id="late", submitted_at="2026-03-11T08:00:00Z"),
        entry(job_id="b", submitted_at="2026-03-10T08:00:00Z"),
        entry(job_id="a", submitted_at="2026-03-10T08:00:00Z"),
    )
    ordered = sorted(found.jobs, key=order_key)
    assert [job.job_id for job in ordered] == ["a", "b", "late", "none", "odd"]


def test_case_06_entries_that_are_no_mappings_are_skipped() -> None:
    """A null between two jobs costs only itself."""
    found = read(entry(job_id="a"), None, entry(job_id="b"), [], "x", entry(job_id="c"))
    assert [job.job_id for job in found.jobs] == ["a", "b", "c"]
    assert [(problem.job_id, problem.position) for problem in found.problems] == [
        (None, 2), (None, 4), (None, 5),
    ]  # fmt: skip


def test_case_07_a_number_as_job_id() -> None:
    """An unquoted number is the id it looks like."""
    assert only_job(job_id=12345).job_id == "12345"


@pytest.mark.parametrize(
    "job_id", ["../../x", "a/b", "", "..", ".hidden", "a..b", "ä", "a b", "x" * 129]
)
def test_case_08_ids_that_are_no_folder_names(job_id: str) -> None:
    """The entry is refused, no response may be written for it, and others are served."""
    found = read(entry(job_id="a"), entry(job_id=job_id), entry(job_id="b"))
    assert [job.job_id for job in found.jobs] == ["a", "b"]
    assert [problem.job_id for problem in found.problems] == [None]


@pytest.mark.parametrize("job_id", [None, True, 1.5, [], {}])
def test_ids_that_are_no_text(job_id: Any) -> None:
    """An id of another type cannot be guessed."""
    found = read(entry(job_id=job_id), entry(job_id="b"))
    assert [job.job_id for job in found.jobs] == ["b"]
    assert found.ids == {"b"}


def test_case_09_upper_and_lower_case() -> None:
    """Type and mode are recognised in any case; the model's name stays as written."""
    job = only_job(job_type="ASR", mode="Training_And_Inference", model={"type": "w2v2bert"})
    assert (job.job_type, job.mode) == (JobType.ASR, Mode.TRAINING_AND_INFERENCE)
    assert job.model.type == "w2v2bert"


def test_case_10_an_unknown_model_is_not_the_manifests_business() -> None:
    """Which models are served is known elsewhere."""
    assert only_job(model={"type": "Parrot"}).model.type == "Parrot"


def test_case_11_unknown_keys_everywhere() -> None:
    """Keys from the future are kept at job level and ignored below."""
    job = only_job(
        colour="blue",
        model={"type": "StableTTS", "size": "large"},
        training={"include_verses": ["MAT 1:1"], "speed": 3},
    )
    assert job.extra == {"colour": "blue"}
    assert job.training == VerseFilter(include=("MAT 1:1",))


def test_the_first_of_two_equal_ids_counts() -> None:
    """A second entry never causes a response against the first one, even if the first is bad."""
    found = read(entry(job_id="a", name="one"), entry(job_id="a", name="two"))
    assert [job.name for job in found.jobs] == ["one"]
    assert [problem.job_id for problem in found.problems] == [None]
    found = read(entry(job_id="a", mode="?"), entry(job_id="a"))
    assert found.jobs == ()
    assert [problem.job_id for problem in found.problems] == ["a", None]


def test_absent_and_null_fields_are_the_same() -> None:
    """`training: null` means what no `training` means."""
    job = only_job(
        name=None, training=None, inference=None, voice_reference=None, canceled=None,
        transmorgrifier=None, epochs=None, timeout=None, audio_format=None, priority=None,
    )  # fmt: skip
    assert job == only_job(epochs=None)
    assert not job.canceled
    assert job.training.is_empty


def test_numbers_and_switches_in_words() -> None:
    """Hand-written values of the wrong YAML type are understood."""
    job = only_job(
        epochs="12", batch_size=8.0, learning_rate="1e-4", val_split=0.1, canceled="yes",
        use_uroman="off", transmorgrifier=True, priority="3", name=7, language="fr",
        save_interval=5,
    )  # fmt: skip
    assert (job.epochs, job.batch_size, job.learning_rate) == (12, 8, 1e-4)
    assert (job.canceled, job.use_uroman, job.transmorgrifier) == (True, False, True)
    assert (job.priority, job.name, job.language, job.save_interval) == (3, "7", "fr", 5)


def test_cosmetic_fields_never_spoil_a_job() -> None:
    """A name that is a list is no reason not to run a job."""
    job = only_job(name=["a"], description={"b": 1}, priority="high", submitted_at=[1])
    assert (job.name, job.description, job.priority, job.submitted_at) == (None, None, 0, None)


def test_audio_format_may_stand_in_two_places() -> None:
    """The one under `inference` is closer to its use and wins."""
    assert only_job().audio_format == "webm"
    assert only_job(audio_format="WAV").audio_format == "wav"
    assert only_job(inference={"audio_format": "ogg"}).audio_format == "ogg"
    assert only_job(audio_format="mp3", inference={"audio_format": "ogg"}).audio_format == "ogg"


def test_a_timeout_is_a_moment() -> None:
    """The deadline is read like any other date."""
    assert only_job(timeout="2026-03-10T08:00:00Z").timeout == datetime(2026, 3, 10, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"job_type": None}, "job_type is missing"),
        ({"job_type": "ocr"}, "job_type must be one of tts, asr, got 'ocr'"),
        ({"mode": "train"}, "mode must be one of training, inference, training_and_inference"),
        ({"model": None}, "model.type is missing"),
        ({"model": "StableTTS"}, "model must be a mapping, got 'StableTTS'"),
        ({"model": {"type": ""}}, "model.type is missing"),
        ({"model": {"type": "X", "base_checkpoint": ["a"]}}, "model.base_checkpoint must be text"),
        ({"epochs": 0}, "epochs: Input should be greater than or equal to 1, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number, got 1.5"),
        ({"epochs": "many"}, "epochs must be a number, got 'many'"),
        ({"epochs": True}, "epochs must be a number, got True"),
        ({"training": ["MAT 1:1"]}, "training must be a mapping"),
        ({"inference": {"include_verses": [None]}}, "inference.include_verses must list verses"),
        ({"inference": {"exclude_verses": [{"MAT 1": 1}]}}, "inference.exclude_verses must list"),
        ({"canceled": "perhaps"}, "canceled must be true or false, got 'perhaps'"),
        ({"timeout": "soon"}, "timeout must be a date and time, got 'soon'"),
        ({"audio_format": "flac"}, "audio_format must be one of webm, ogg, mp3, wav, got 'flac'"),
        ({"inference": {"audio_format": 3}}, "inference.audio_format must be one of"),
        (
            {"transmorgrifier": {"enabled": "maybe"}},
            "transmorgrifier.enabled must be true or false",
        ),
        ({"voice_reference": {"a": 1}}, "voice_reference must be text"),
        ({"val_split": 1.0}, "val_split: Input should be less than 1, got 1.0"),
        ({"learning_rate": float("inf")}, "learning_rate must be a finite number"),
    ],
)
def test_a_bad_entry_says_what_is_wrong_and_spoils_only_itself(
    changes: dict[str, Any], words: str
) -> None:
    """The message names the field, the rule and the value."""
    text = b"version: 1\njobs:\n" if "learning_rate" in changes else None
    if text is not None:  # infinity cannot be written by our writer, so it is spelled out
        text += b"  - {job_id: bad, job_type: asr, mode: training, model: {type: X}, learning_rate: .inf}"
        assert words in parse_manifest(text).problems[0].message
    else:
        assert words in only_problem(**changes)


def test_a_canceled_bad_entry_says_so() -> None:
    """The user gave it up already, so nobody needs to report it as failed."""
    (problem,) = read(entry(mode="?", canceled=True)).problems
    assert problem.canceled


def test_verse_lists_keep_order_and_drop_repetition() -> None:
    """A single word counts as a list of one; an empty list as none."""
    job = only_job(inference={"include_verses": ["B 1:2", "A 1:1", "B 1:2 ", 17]})
    assert job.inference.include == ("B 1:2", "A 1:1", "17")
    assert only_job(inference={"include_verses": "MAT 1:1"}).inference.include == ("MAT 1:1",)
    assert only_job(inference={"include_verses": []}).inference.is_empty


foreign = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = [*entry(), "training", "inference", "transmorgrifier", "timeout", "audio_format"]


@given(st.dictionaries(st.sampled_from(KEYS), foreign, max_size=6))
def test_no_field_of_any_type_stops_the_others(changes: dict[str, Any]) -> None:
    """Whatever stands in an entry, its neighbours are served and nothing is raised."""
    odd = load_yaml(dump_yaml({"x": {**entry(job_id="odd"), **changes}}))["x"]
    found = read(entry(job_id="first"), odd, entry(job_id="last"))
    served = [job.job_id for job in found.jobs]
    assert served[0] == "first"
    assert "last" in found.ids
    assert len(found.jobs) + len(found.problems) == 3


def test_a_long_manifest_is_read_quickly() -> None:
    """A manifest only grows; five hundred finished jobs must cost nothing worth mentioning."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    entries = [
        entry(job_id=f"job{n}", submitted_at=(start + timedelta(hours=n)).isoformat())
        for n in range(500)
    ]
    assert len(read(*entries).jobs) == 500
