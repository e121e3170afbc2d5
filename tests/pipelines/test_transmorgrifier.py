"""Files of SentenceTransmorgrifier: read, applied as the library applies them, written so that it reads them."""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from pathlib import Path

import pytest

from pipelines.asr.corrector import tree_corrector, trees
from pipelines.asr.corrector.kinds import CorrectorKind, learners, load_corrector
from pipelines.asr.corrector.proof import Material, prove
from pipelines.asr.corrector.tree_corrector import FILE, TreeCorrector
from pipelines.asr.corrector.trees import EditTrees
from pipelines.asr.w2v2bert.archive import REQUIRED, pack, unpack
from pipelines.errors import BadCheckpoint
from pipelines.text.normalize import spoken_form

# Its plotting libraries, which nothing here uses, warn while they are imported.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

END = "\x03"
SCRIPTS = {
    "latin": [("in the beginning god", "In the beginning, God."), ("and the eart was", "And the earth was!")],
    "devanagari": [("इब्राहीम ने कहा", "इब्राहीम ने कहा।"), ("परमेशवर ने", "परमेश्वर ने।")],
    "arabic": [("قال الله لهم", "قال الله لهم؛"), ("و في البدء", "وفي البدء.")],
    "sharp s": [("straße und gott", "Straße und Gott."), ("der ssohn", "Der Sohn.")],
    "one sign only": [("abc def", "abc def."), ("ghi abc", "ghi abc.")],
    "nothing inserted": [("abcx def", "abc def"), ("ghix abc", "ghi abc")],
}  # fmt: skip


def _theirs(pairs, end, path):
    """A model that the library has trained and saved."""
    from sentence_transmorgrifier.transmorgrify import Transmorgrifier

    theirs = Transmorgrifier()
    with contextlib.redirect_stdout(io.StringIO()):
        heard, written = zip(*(pairs * 6), strict=True)
        theirs.train([a + end for a in heard], [b + end for b in written], iterations=30)
        theirs.save(str(path))
    return theirs


def _texts(pairs, end):
    """What it knows, pieces of it, and what it never saw."""
    known = [heard for heard, _ in pairs]
    pieces = [heard[start:] + known[0][:start] for heard in known for start in (0, 3, 6)]
    strange = ["zzzzzzz ab", "", "ß ΑΒΓ 日本", "x" * 40, " ", known[0].upper()]
    return [text + end for text in (*known, *pieces, *strange)]


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The library leaves files in the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("script", "end"), [*((script, "") for script in SCRIPTS), ("latin", END), ("arabic", END)]
)
def test_a_file_of_the_library_writes_what_the_library_writes(scratch, script, end):
    """Every letter, in any script, also where the library runs away and gives up."""
    theirs = _theirs(SCRIPTS[script], end, scratch / "their.tm")
    texts = _texts(SCRIPTS[script], end)
    ours = TreeCorrector(EditTrees.load(scratch / "their.tm"))
    assert ours.execute(texts) == list(theirs.execute(texts))


def test_thirty_texts_take_less_than_a_twentieth_of_the_librarys_time(scratch):
    """One prediction for all of them instead of one per letter; processor time of one run each."""
    theirs = _theirs(SCRIPTS["latin"], END, scratch / "their.tm")
    ours = TreeCorrector(EditTrees.load(scratch / "their.tm"))
    texts = [f"{text}{END}" for text in ("and the eart was", "in the beginning god and god") * 16]
    ours.execute(texts)
    started = time.process_time()
    written = list(theirs.execute(texts))
    middle = time.process_time()
    assert ours.execute(texts) == written
    assert middle - started > 20 * (time.process_time() - middle)


@pytest.fixture
def corrector():
    """One of ours, quickly trained."""
    found = TreeCorrector.trained(SCRIPTS["latin"] * 6, budget_s=0.1)
    assert found is not None
    return found


def test_final_stops_come_back(corrector):
    """The end mark is there to insert them before it, and gone afterwards."""
    heard = [heard for heard, _ in SCRIPTS["latin"]]
    assert corrector.correct([*heard, ""]) == [*(said for _, said in SCRIPTS["latin"]), ""]


def test_a_checkpoint_with_one_keeps_it_and_the_library_reads_it(corrector, scratch):
    """The same file for both, and nothing else beside it."""
    from sentence_transmorgrifier.transmorgrify import Transmorgrifier

    corrector.save(scratch)
    assert [path.name for path in scratch.iterdir()] == [FILE]
    loaded = TreeCorrector.load(scratch)
    texts = _texts(SCRIPTS["latin"], END)
    assert loaded is not None
    assert loaded.correct(texts) == corrector.correct(texts)
    assert list(Transmorgrifier().load(FILE).execute(texts)) == loaded.execute(texts)


def test_it_travels_in_a_checkpoints_file(corrector, tmp_path):
    """Beside the recogniser, and is found again whatever an older worker called it."""
    model, unpacked = tmp_path / "model", tmp_path / "unpacked"
    model.mkdir()
    corrector.save(model)
    (model / FILE).rename(model / "my_model.tm")
    for name in REQUIRED:
        (model / name).write_text("{}", "utf-8")
    pack(model, tmp_path / "model.pt")
    unpack(tmp_path / "model.pt", unpacked)
    found = load_corrector(unpacked)
    heard = [heard for heard, _ in SCRIPTS["latin"]]
    assert isinstance(found, TreeCorrector)
    assert found.correct(heard) == corrector.correct(heard)


def test_the_better_kind_is_kept(monkeypatch):
    """Both are judged on the same verses; here our own has no time to learn."""
    monkeypatch.setattr(tree_corrector, "BUDGET_S", 0.2)
    starts, ends = ("In", "On", "At", "By"), ("Ur", "Gad", "Rome", "Tyre", "Nob", "Ai")
    verses = [f"{start} the town of {end}." for start in starts for end in ends]
    both = dict(learners(CorrectorKind.BEST))
    assert list(both) == [CorrectorKind.OWN, CorrectorKind.TRANSMORGRIFIER]
    both[CorrectorKind.OWN] = lambda _: None
    proof = prove(Material((), verses, spoken_form), lambda: None, learners=both)
    assert proof.kind is CorrectorKind.TRANSMORGRIFIER
    assert isinstance(proof.corrector, TreeCorrector)
    assert proof.cer_after < proof.cer_before


def test_a_script_of_thousands_of_characters_is_left_to_the_other_kind():
    """Trees would take hours there."""
    pairs = [
        ("".join(map(chr, range(start, start + 30))), "。") for start in range(19968, 20468, 10)
    ]
    assert TreeCorrector.trained(pairs, budget_s=1e9) is None


def test_training_leaves_no_litter_and_says_nothing(scratch, capfd):
    """CatBoost would leave a directory and print every iteration."""
    assert TreeCorrector.trained(SCRIPTS["latin"] * 3, budget_s=0.1)
    assert list(scratch.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_texts_that_need_no_correction_teach_nothing():
    """Then there is no corrector."""
    assert TreeCorrector.trained([("abc", "abc")] * 5) is None


def test_a_checkpoint_without_one_has_none(tmp_path):
    """Most have none."""
    assert TreeCorrector.load(tmp_path) is None


def _rewritten(path: Path, **members):
    """Replace members of a file; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    kept.update({name.replace("_", "."): data for name, data in members.items()})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in kept.items():
            if data is not None:
                archive.writestr(name, data)


def _params(**changes):
    known = {"version": 2, "leading_context": 7, "trailing_context": 7, "iterations": 30}
    return json.dumps({**known, **changes}).encode()


@pytest.mark.parametrize(
    "members",
    [
        {"params_json": None},
        {"params_json": b"rubbish"},
        {"params_json": b"[]"},
        {"params_json": _params(version=3)},
        {"params_json": _params(leading_context=0)},
        {"params_json": _params(trailing_context=10**9)},
        {"params_json": _params(leading_context=9)},
        {"params_json": _params(constant_output="x" * 1000)},
        {"action_cb": None},
        {"action_cb": b""},
        {"action_cb": b"CBM1" + b"\xff" * 4000},
        {"action_cb": b"\x80\x04\x95cos\nsystem\n"},
        {"char_cb": None},
        {"char_cb": b"rubbish"},
    ],
    ids=lambda members: "-".join(members),
)
def test_broken_and_malicious_files_are_refused(corrector, tmp_path, members):
    """In words, whatever is wrong with them."""
    corrector.save(tmp_path)
    _rewritten(tmp_path / FILE, **members)
    with pytest.raises(BadCheckpoint, match="corrector"):
        TreeCorrector.load(tmp_path)


def test_a_cut_file_is_refused(corrector, tmp_path):
    """At any place; a change of one byte in the middle is noticed too."""
    corrector.save(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 0xFF
    for data in (b"", whole[:10], whole[: len(whole) // 2], whole[:-5], bytes(changed)):
        (tmp_path / FILE).write_bytes(data)
        with pytest.raises(BadCheckpoint, match="corrector"):
            TreeCorrector.load(tmp_path)


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_has(corrector, tmp_path, monkeypatch):
    """A few kilobytes can hold gigabytes of zeros."""
    monkeypatch.setattr(trees, "MOST_BYTES", 1 << 20)
    corrector.save(tmp_path)
    _rewritten(tmp_path / FILE, action_cb=b"\0" * (8 << 20))
    assert (tmp_path / FILE).stat().st_size < 1 << 20
    with pytest.raises(BadCheckpoint, match="too large"):
        TreeCorrector.load(tmp_path)


class _Stubborn:
    """Ensembles that always choose the same."""

    def __init__(self, choice):
        self._choice = choice

    def predict(self, data):
        return [self._choice] * len(data)


@pytest.mark.parametrize("action", [2, 3, 99, -1])
def test_a_model_that_never_comes_to_an_end_is_stopped(action):
    """Inserting for ever, or deciding what is no decision."""
    params = trees.Params(version=2, leading_context=7, trailing_context=7, constant_output="ab")
    corrector = TreeCorrector(EditTrees(params, _Stubborn(action), None))
    (text,) = corrector.correct(["abc def"])
    assert len(text) < 60


def test_where_the_library_gives_up_the_rest_of_the_text_stays():
    """Five equal letters end its work; a verse must not lose its second half for it."""
    params = trees.Params(version=2, leading_context=7, trailing_context=7, constant_output=" ")
    corrector = TreeCorrector(EditTrees(params, _Stubborn(0), None))
    assert corrector.execute(["Haaaaaa, he said."]) == ["Haaaaa"]
    assert corrector.correct(["Haaaaaa, he said."]) == ["Haaaaaa, he said."]
