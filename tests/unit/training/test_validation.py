"""nmtkd.training.validation: the curve's BLEU is sacreBLEU of text, in any script."""

import pytest

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.text.text_form import TextForm
from nmtkd.training import validation
from tests.conftest import Tiny


def scored(
    tiny: Tiny,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
    gold: list[str],
    target: str,
    tokeniser: str = "reversible",
) -> float | None:
    """BLEU of what a model is made to say, in BPE."""
    monkeypatch.setattr(validation, "greedy", lambda loaded, sources: said)
    form = TextForm(target=target, tokeniser=tokeniser, longest=1)
    return validation.bleu(bridge.load_model(tiny.folder, "cpu"), (["w1"] * len(gold), gold), form)


@pytest.mark.parametrize(
    ("target", "gold", "other"),
    [
        ("zh", "今天@@ 天气￭ 很好@@ 我们去 ￭。", "今天天@@ 气很好我￭ 们@@ 去 ￭。"),
        ("ja", "今日は￭ 天気@@ がとてもいい ￭。", "今日@@ は天気がとても￭ いい ￭。"),
        ("th", "วันนี้@@ อากาศดีมาก", "วันนี้อากาศ@@ ดี@@ มาก"),
        ("de", "Das We@@ tter ist heute gut ￭.", "Das Wetter ist heu@@ te gut ￭."),
    ],
)
def test_same_text_in_other_pieces_scores_100(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, target: str, gold: str, other: str
) -> None:
    assert scored(tiny, monkeypatch, [other], [gold], target) == pytest.approx(100.0)


def test_nearly_right_text_scores_something_in_a_script_without_spaces(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One character of nine is wrong. With spaces between words for words it would score 0."""
    score = scored(tiny, monkeypatch, ["今天天气很好我们来"], ["今天天气很好我们去"], "zh")
    assert score is not None and 60.0 < score < 100.0
    assert scored(tiny, monkeypatch, ["他他他他"], ["今天天气很好"], "zh") == pytest.approx(0.0, abs=10.0)


def test_bleu_minds_case_and_counts_text_not_tokens(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    gold = ["Das Wetter ist gut ￭."]
    score = scored(tiny, monkeypatch, ["das Wetter ist gut ￭."], gold, "de")
    assert score is not None and score < 90.0
    # A space before the full stop is not the same text, though sacreBLEU's tokeniser takes it for the same.
    assert scored(tiny, monkeypatch, ["Das Wetter ist gut ."], gold, "de") == pytest.approx(100.0)
    moses = scored(tiny, monkeypatch, ["Öffne ｟0｠ , bitte ."], ["Öff@@ ne ｟0｠ , bitte ."], "de", "moses")
    assert moses == pytest.approx(100.0)


@pytest.mark.parametrize("said", ["", "￭", "￭ ￭", "｟ 今 ￭", "<unk> @@ ￭x￭", "lo@@"])
def test_whatever_an_early_model_says_has_a_score(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    for target in ("zh", "de"):
        for tokeniser in ("reversible", "moses"):
            score = scored(tiny, monkeypatch, [said], ["今天 a b c"], target, tokeniser)
            assert score is not None and 0.0 <= score < 50.0


def test_no_pairs_no_score(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scored(tiny, monkeypatch, [], [], "de") is None


@pytest.mark.parametrize(("pairs", "count", "chosen"), [(5, 0, []), (5, 2, [0, 2]), (3, 9, [0, 1, 2])])
def test_sample_is_spread_over_the_set(pairs: int, count: int, chosen: list[int]) -> None:
    lines = [str(line) for line in range(pairs)]
    assert validation.sample((lines, lines), count) == ([str(i) for i in chosen],) * 2
