"""nmtkd.models.decoding: both engines find the same, in the order of the sources, within the limits."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from nmtkd.models import decoding
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.models.decoding import Hypothesis, Search, greedy, translate
from tests.conftest import Tiny

ENGINES = ["ctranslate2", "fairseq"]


def search(**changes: Any) -> Search:
    values: dict[str, Any] = {"beam": 1, "length_penalty": 1.0, "max_length_factor": 2.0, "max_length_offset": 5}
    return Search(**(values | changes))


@pytest.fixture(scope="module")
def found(tiny: Tiny) -> dict[str, list[Hypothesis]]:
    """Greedy translations by each engine."""
    return {engine: [nbest[0] for nbest in translate(tiny.folder, tiny.sources, search(), engine)] for engine in ENGINES}


def texts(nbest: list[list[Hypothesis]]) -> list[list[str]]:
    return [[hypothesis.text for hypothesis in entries] for entries in nbest]


@pytest.mark.parametrize(
    ("factor", "offset", "source", "limit"), [(2.0, 10, "a b c", 16), (1.5, 0, "a b c", 4), (0.5, 1, "a", 1), (1.0, 20, "a@@ b", 22)]
)
def test_the_limit_grows_with_the_source(factor: float, offset: int, source: str, limit: int) -> None:
    assert search(max_length_factor=factor, max_length_offset=offset).limit(source) == limit


@pytest.mark.parametrize(
    ("text", "limit", "kept", "truncated"),
    [("a b c", 4, "a b c", False), ("a b c", 3, "a b c", True), ("a b c", 2, "a b", True), ("", 3, "", False)],
)
def test_an_output_is_cut_at_the_limit(text: str, limit: int, kept: str, truncated: bool) -> None:
    assert decoding._cut(text, -0.123456, limit) == Hypothesis(text=kept, score=-0.1235, truncated=truncated)


def test_greedy_search_is_the_same_by_both_engines(found: dict[str, list[Hypothesis]]) -> None:
    ours, reference = found["ctranslate2"], found["fairseq"]
    assert [one.text for one in ours] == [other.text for other in reference]
    assert [one.truncated for one in ours] == [other.truncated for other in reference]
    whole = [(one.score, other.score) for one, other in zip(ours, reference, strict=True) if not one.truncated]
    assert 5 < len(whole) < 35  # some end by themselves, some are cut
    # fairseq forbids EOS as first token after the softmax, CTranslate2 before it: scores differ by the little mass of EOS there.
    assert all(one == pytest.approx(other, abs=0.02) for one, other in whole)
    assert len({one.text for one in ours}) > 20


@pytest.mark.parametrize("engine", ENGINES)
def test_truncated_outputs_are_those_that_meet_the_limit(tiny: Tiny, found: dict[str, list[Hypothesis]], engine: str) -> None:
    for source, hypothesis in zip(tiny.sources, found[engine], strict=True):
        length = len(hypothesis.text.split())
        assert length <= search().limit(source)
        assert hypothesis.truncated == (length == search().limit(source))
    short = search(max_length_factor=0.5, max_length_offset=1)
    for source, (hypothesis,), (whole) in zip(
        tiny.sources, translate(tiny.folder, tiny.sources, short, engine), found[engine], strict=True
    ):
        limit = len(source.split()) // 2 + 1
        assert hypothesis.text.split() == whole.text.split()[:limit]
        assert hypothesis.truncated == (len(whole.text.split()) >= limit)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("beam", [1, 4])
def test_a_line_is_translated_alike_in_any_company(tiny: Tiny, engine: str, beam: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order, the batches and the other lines: also where a search meets its limit."""
    together = texts(translate(tiny.folder, tiny.sources, search(beam=beam, nbest=beam), engine))
    seen: list[tuple[int, int]] = []
    back = translate(tiny.folder, tiny.sources[::-1], search(beam=beam, nbest=beam), engine, lambda done, total: seen.append((done, total)))
    assert texts(back)[::-1] == together
    assert seen == [(done, 40) for done in range(1, 41)]
    assert texts(translate(tiny.folder, tiny.sources[5:15], search(beam=beam, nbest=beam), engine)) == together[5:15]
    monkeypatch.setattr(decoding, "BATCH_TOKENS", 25)
    monkeypatch.setattr(decoding, "UNDER_WAY", 3)
    assert texts(translate(tiny.folder, tiny.sources, search(beam=beam, nbest=beam), engine)) == together


@pytest.mark.parametrize("engine", ENGINES)
def test_the_n_best_come_best_first(tiny: Tiny, engine: str) -> None:
    for entries in translate(tiny.folder, tiny.sources, search(beam=4, nbest=3), engine):
        assert len(entries) == 3
        scores = [hypothesis.score for hypothesis in entries]
        assert scores == sorted(scores, reverse=True)
        assert len({hypothesis.text for hypothesis in entries}) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_a_beam_finds_what_scores_at_least_as_well(tiny: Tiny, found: dict[str, list[Hypothesis]], engine: str) -> None:
    wide = [entries[0] for entries in translate(tiny.folder, tiny.sources, search(beam=6), engine)]
    assert sum(one.score for one in wide) > sum(one.score for one in found[engine])
    assert [one.text for one in wide] != [one.text for one in found[engine]]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_length_penalty_is_passed_on(tiny: Tiny, engine: str) -> None:
    short, long = (
        sum(
            len(entries[0].text.split()) for entries in translate(tiny.folder, tiny.sources, search(beam=4, length_penalty=penalty), engine)
        )
        for penalty in (0.0, 2.0)
    )
    assert short < long


def test_the_curves_view_is_greedy_search(tiny: Tiny) -> None:
    loaded = bridge.load_model(tiny.folder, "cpu")
    wanted = translate(tiny.folder, tiny.sources, search(max_length_factor=1.0, max_length_offset=decoding.CURVE_OFFSET), "fairseq")
    found = greedy(loaded, tiny.sources)
    assert all(entries[0].text == text or entries[0].truncated for entries, text in zip(wanted, found, strict=True))
    assert all(text.startswith(entries[0].text) for entries, text in zip(wanted, found, strict=True))
    assert sum(not entries[0].truncated for entries in wanted) > 5


def test_a_lost_line_is_no_silence(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def loses(engine: Callable[..., Any]) -> Callable[..., Any]:
        def run(folder: Any, sources: Sequence[str], *rest: Any) -> Any:
            return list(engine(folder, sources, *rest))[1:]

        return run

    monkeypatch.setattr(decoding, "_ctranslate2", loses(decoding._ctranslate2))
    with pytest.raises(ValueError, match="shorter"):
        translate(tiny.folder, tiny.sources[:3], search(), "ctranslate2")


def test_no_sources_no_translations(tiny: Tiny) -> None:
    assert translate(tiny.folder, [], search(), "ctranslate2") == []
