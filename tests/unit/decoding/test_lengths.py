"""nmtkd.decoding.lengths: one rule chooses a length penalty, by what the validation set shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nmtkd import files
from nmtkd.decoding import lengths
from nmtkd.decoding.search import Hypothesis, Search
from nmtkd.decoding.translate import translate
from nmtkd.plan import layout
from nmtkd.plan.data import Prepare
from nmtkd.plan.decoding import Decoding, Evaluate
from nmtkd.plan.schema import Params
from nmtkd.text import text_form
from nmtkd.text.bleu import Quality, measure
from nmtkd.text.yardstick import Yardstick
from tests.conftest import Tiny
from tests.unit.decoding.helpers import ENGINES, search, texts
from tests.unit.network.building import changed

OF_TEXT = Yardstick(metric="bleu", of_text="13a")


def judged(by: str = "bleu", tokenize: str = "auto", *, lowercase: bool = False) -> Params:
    """The params by which a corpus is judged."""
    evaluate = Evaluate.model_construct(primary=by, tokenize=tokenize)
    return Params.model_construct(evaluate=evaluate, prepare=Prepare.model_construct(lowercase=lowercase))


def tried(**bleu: float) -> dict[float, Quality]:
    """p14=20.5: penalty 1.4 has BLEU 20.5."""
    return {
        int(name[1:]) / 10: Quality(bleu=value, brevity_penalty=0.9, length_ratio=0.9)
        for name, value in bleu.items()
    }


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({"p06": 17.0, "p10": 18.0, "p14": 19.0}, 1.4),
        ({"p06": 19.0, "p10": 18.0, "p14": 17.0}, 0.6),
        ({"p10": 18.0}, 1.0),
        ({"p22": 17.0}, 2.2),
        # Equal: the one nearest to 1, on either side, wherever it stands.
        ({"p06": 18.0, "p08": 18.0, "p22": 18.0}, 0.8),
        ({"p22": 18.0, "p18": 18.0, "p06": 17.9}, 1.8),
        ({"p06": 18.0, "p10": 18.0, "p14": 18.0}, 1.0),
        # Equal and equally near: the smaller, though in floating point 1.4 is nearer to 1 than 0.6 is.
        ({"p06": 18.0, "p14": 18.0, "p10": 17.0}, 0.6),
        ({"p14": 18.0, "p06": 18.0}, 0.6),
        # Equal in all digits that are stored.
        ({"p10": 18.00001, "p22": 18.00002}, 1.0),
        ({"p10": 18.0001, "p22": 18.0002}, 2.2),
        ({"p06": 0.0, "p10": 0.0}, 1.0),
    ],
)
def test_best_penalty_by_hand(scores: dict[str, float], chosen: float) -> None:
    assert lengths.choose(tried(**scores)) == chosen


def test_each_penalty_is_measured_on_its_own_text() -> None:
    said = {0.6: ["the cat sat on"], 1.4: ["the cat sat on a mat"]}
    found = lengths.try_all([1.4, 0.6], said.__getitem__, ["the cat sat on a mat"], OF_TEXT)
    assert {penalty: quality.rounded() for penalty, quality in found.items()} == {
        0.6: {"bleu": 60.6531, "brevity_penalty": 0.6065, "length_ratio": 0.6667},
        1.4: {"bleu": 100.0, "brevity_penalty": 1.0, "length_ratio": 1.0},
    }


@pytest.mark.parametrize(
    ("penalty", "penalties", "line"),
    [
        (0.6, [0.6, 1.0, 1.4], "length penalty 0.6, the shortest asked for"),
        (1.0, [0.6, 1.0, 1.4], "length penalty 1.0"),
        (1.4, [1.4, 0.6, 1.0], "length penalty 1.4, the longest asked for"),
        (1.0, [1.0], "length penalty 1.0"),
        (1.0, [1.0, 1.0], "length penalty 1.0"),
    ],
)
def test_choice_at_an_end_is_told(penalty: float, penalties: list[float], line: str) -> None:
    assert lengths.named(penalty, penalties) == line


# The teacher's


def decoding(*penalties: float, **changes: Any) -> Decoding:
    values: dict[str, Any] = {"kind": "search", "engine": "ctranslate2", "compute": "float32"}
    values |= {
        "beam": 4,
        "nbest": 2,
        "max_length_factor": 2.0,
        "max_length_offset": 5,
        "length_penalties": list(penalties),
    }
    return Decoding(**(values | changes))


@pytest.fixture
def valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A German validation set in BPE, below the current folder."""
    monkeypatch.chdir(tmp_path)
    write_valid(["the ca@@ t", "open ｟0｠"], ["Die Ka@@ tze sitzt hier ￭.", "Öff@@ ne ｟0｠ bitte jetzt ￭!"])


def write_valid(sources: Sequence[str], targets: Sequence[str]) -> None:
    for side, lines in (("src", sources), ("tgt", targets)):
        files.write_text(layout.BPE / f"valid.{side}", "".join(f"{line}\n" for line in lines))
    form = {"target": "de", "tokeniser": "reversible", "longest": 9}
    files.write_json(layout.BPE / layout.TEXT, form)


SAID = {
    0.6: ["Die Ka@@ tze sitzt hier", "Öffne ｟0｠"],
    1.4: ["Die Katze sitzt hier ￭.", "Öffne ｟0｠ bitte jet@@ zt ￭!"],
    2.2: ["Die Katze sitzt hier ￭. hier", "Öffne ｟0｠ bitte jet@@ zt ￭! ￭!"],
}


@pytest.mark.usefixtures("valid")
def test_teachers_penalty_is_chosen_on_text_of_the_validation_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other pieces of the same words are the same text. It has 10 words: 6 of them are worth exp(1 - 10/6),
    12 of which 10 are right (1/3) ** (1/4)."""
    asked = []

    def translate(
        folder: Path, sources: Sequence[str], how: Search, engine: str, progress: Any
    ) -> list[list[Hypothesis]]:
        asked.append((folder, list(sources), how, engine))
        progress(2, 2)
        best = [Hypothesis(text=text, score=-1.0, truncated=False) for text in SAID[how.length_penalty]]
        worse = Hypothesis(text="nein", score=-2.0, truncated=False)
        return [[one, worse] for one in best]

    monkeypatch.setattr(lengths, "translate", translate)
    found = lengths.try_teacher(Path("m"), decoding(0.6, 1.4, 2.2), judged(), "decode clean beam")
    assert lengths.choose(found) == 1.4
    assert {penalty: quality.rounded() for penalty, quality in found.items()} == {
        0.6: {"bleu": 51.3417, "brevity_penalty": 0.5134, "length_ratio": 0.6},
        1.4: {"bleu": 100.0, "brevity_penalty": 1.0, "length_ratio": 1.0},
        2.2: {"bleu": 75.9836, "brevity_penalty": 1.0, "length_ratio": 1.2},
    }
    assert [how.length_penalty for _, _, how, _ in asked] == [0.6, 1.4, 2.2]
    assert {(folder, engine) for folder, _, _, engine in asked} == {(Path("m"), "ctranslate2")}
    assert all(sources == ["the ca@@ t", "open ｟0｠"] for _, sources, _, _ in asked)
    assert all((how.beam, how.nbest, how.max_length_offset) == (4, 2, 5) for _, _, how, _ in asked)
    out, err = capsys.readouterr()
    assert "[decode clean beam] 2/2 validation lines translated, length penalty 0.6\n" in err
    assert out == (
        "[decode clean beam] length penalty 1.4: validation BLEU 51.3 at 0.6, 100.0 at 1.4, 76.0 at 2.2; "
        "brevity penalty 1.00\n"
    )


# By cased BLEU of text 0.6 is the best, by lower-cased tokens 1.4, whose only fault is case.
BY_SCORE = {
    0.6: ["die katze sitzt auf dem hund ￭.", "das haus ist rot ￭."],
    1.4: ["Die Kat@@ ze Sitzt Auf Der Matte ￭.", "Das Haus Ist Rot ￭."],
}


@pytest.mark.usefixtures("valid")
@pytest.mark.parametrize(("by", "chosen"), [("bleu", 0.6), ("bleu_tok_lc", 1.4)])
def test_teachers_penalty_is_the_best_by_the_primary_score(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], by: str, chosen: float
) -> None:
    write_valid(["a", "b"], ["die katze sitzt auf der matte ￭.", "das haus ist rot ￭."])

    def translate(_: Path, sources: Sequence[str], how: Search, *rest: object) -> list[list[Hypothesis]]:
        return [[Hypothesis(text=x, score=-1.0, truncated=False)] for x in BY_SCORE[how.length_penalty]]

    monkeypatch.setattr(lengths, "translate", translate)
    found = lengths.try_teacher(Path("m"), decoding(0.6, 1.4), judged(by), "decode clean beam")
    assert lengths.choose(found) == chosen
    assert (found[1.4].bleu == pytest.approx(100.0)) == (by == "bleu_tok_lc")
    name = {"bleu": "BLEU", "bleu_tok_lc": "tok-lc BLEU"}[by]
    assert f"length penalty {chosen}" in (out := capsys.readouterr().out)
    assert f": validation {name} " in out


@pytest.mark.usefixtures("valid")
def test_teachers_tokens_are_counted_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of gold's seven tokens, that have no joiners, six are right; as text the last word is another one."""
    write_valid(["a"], ["wir gehen heute in die Stadt ￭!"])
    said = [[Hypothesis(text="Wir gehen heu@@ te in die stadt ￭?", score=-1.0, truncated=False)]]
    monkeypatch.setattr(lengths, "translate", lambda *_: said)
    found = lengths.try_teacher(Path("m"), decoding(0.6, 1.4), judged("bleu_tok_lc"), "decode clean beam")
    # 6/7, 5/6, 4/5 and 3/4: their product is 3/7
    assert found[0.6].rounded() == {"bleu": 80.9107, "brevity_penalty": 1.0, "length_ratio": 1.0}


@pytest.mark.usefixtures("valid")
@pytest.mark.parametrize("penalty", [0.6, 1.4, 2.2])
def test_bleu_of_text_is_what_it_was_before_other_scores_could_decide(
    monkeypatch: pytest.MonkeyPatch, penalty: float
) -> None:
    """Cased sacreBLEU of text by the language's own tokeniser."""
    said = [Hypothesis(text=text, score=-1.0, truncated=False) for text in SAID[penalty]]
    monkeypatch.setattr(lengths, "translate", lambda *_: [[one] for one in said])
    found = lengths.try_teacher(Path("m"), decoding(penalty, 1.0), judged(), "decode clean beam")
    form = text_form.read(layout.BPE)
    text = [form.text(one.text) for one in said]
    gold = [form.text(line) for line in (layout.BPE / "valid.tgt").read_text("utf-8").splitlines()]
    assert found[penalty] == measure(text, gold, "13a")


def test_where_there_is_no_choice_nothing_is_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No validation set is read either."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lengths, "translate", lambda *_: pytest.fail("never asked"))
    assert lengths.try_teacher(Path("m"), decoding(1.4), judged(), "decode clean beam") == {}
    greedy = decoding(1.0, beam=1, nbest=1)
    assert lengths.try_teacher(Path("m"), greedy, judged(), "decode clean greedy") == {}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("engine", ENGINES)
def test_larger_penalty_makes_longer_text_by_both_engines(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.chdir(tmp_path)
    longest = translate(tiny.folder, tiny.sources, search(beam=4, length_penalty=2.2), engine)
    write_valid(tiny.sources, [best for best, *_ in texts(longest)])
    strategy = decoding(0.0, 1.0, 2.2, engine=engine)
    found = lengths.try_teacher(tiny.folder, strategy, judged(), "decode clean beam")
    assert lengths.choose(found) == 2.2
    ratios = [quality.length_ratio for quality in found.values()]
    assert ratios[0] < ratios[1] < ratios[2] == 1.0
    assert round(found[2.2].bleu, 4) == 100.0 > found[1.0].bleu


@pytest.fixture
def brief(tiny: Tiny, tmp_path: Path) -> Path:
    """The tiny model, more ready to end a sentence."""
    (tmp_path / "brief").mkdir()
    return changed(
        tiny,
        tmp_path / "brief",
        lambda weights, words: weights["encoder.embed_tokens.weight"][words.eos(), 0].fill_(3.0),
    )


@pytest.mark.parametrize(("penalty", "least", "most"), [(0.0, 90, 110), (0.6, 100, 115), (2.2, 320, 360)])
def test_both_engines_weigh_length_alike(
    tiny: Tiny, brief: Path, penalty: float, least: int, most: int
) -> None:
    """The end of a sentence is a token of its length: the sums of log probability behind the scores agree.

    But for the little mass of EOS as first token: fairseq forbids it after the softmax, CTranslate2 before.
    """
    how = search(beam=4, length_penalty=penalty, max_length_factor=1.0, max_length_offset=40)
    pairs = list(zip(*(translate(brief, tiny.sources, how, engine) for engine in ENGINES), strict=True))
    alike = [(one, other) for (one,), (other,) in pairs if one.text == other.text and not one.truncated]
    assert len(alike) > 35
    for one, other in alike:
        assert abs(one.score - other.score) * (len(one.text.split()) + 1) ** penalty < 0.08
    assert all(
        least < sum(len(entry[0].text.split()) for entry in side) < most for side in zip(*pairs, strict=True)
    )
