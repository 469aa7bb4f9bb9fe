"""nmtkd.decoding.translate: both engines find the same, in the order of the sources, within the limits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
import torch

from nmtkd import machine
from nmtkd.decoding import with_ctranslate2, with_fairseq
from nmtkd.decoding.scoring import distributions
from nmtkd.decoding.search import Hypothesis
from nmtkd.decoding.translate import CURVE_OFFSET, gpus, greedy, translate, translations
from nmtkd.network import fairseq_bridge as bridge
from tests.conftest import Tiny
from tests.unit.decoding.helpers import ENGINES, drawn, search, texts
from tests.unit.network.building import changed, long_line


@pytest.mark.parametrize(
    ("text", "limit", "kept", "truncated"),
    [
        ("a b c", 4, "a b c", False),
        ("a b c", 3, "a b c", True),
        ("a b c", 2, "a b", True),
        ("", 3, "", False),
    ],
)
def test_output_is_cut_at_the_limit(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, text: str, limit: int, kept: str, truncated: bool
) -> None:
    monkeypatch.setattr(with_ctranslate2, "nbest_lists", lambda *_: iter([[(text, -0.123456)]]))
    how = search(max_length_factor=0.1, max_length_offset=limit)
    wanted = Hypothesis(text=kept, score=-0.1235, truncated=truncated)
    assert translate(tiny.folder, ["w1"], how, "ctranslate2") == [[wanted]]


def never_ending(model: Tiny, folder: Path) -> Path:
    """A model that never ends a sentence by itself."""

    def change(weights: dict[str, Any], words: Any) -> None:
        weights["encoder.embed_tokens.weight"][words.eos(), 0] = -20.0

    folder.mkdir()
    return changed(model, folder, change)


@pytest.fixture
def endless(tiny: Tiny, tmp_path: Path) -> Path:
    """With 1024 positions."""
    return never_ending(tiny, tmp_path / "endless")


def test_limit_beyond_the_models_positions_is_cut_by_both_engines(endless: Path) -> None:
    """To 1023 tokens: the end of the sentence has a position too. That counts as truncated."""
    how = search(max_length_factor=2.0, max_length_offset=10)
    sources = ["w1 w2", long_line(600), long_line(700)]
    ours, reference = (translate(endless, sources, how, engine) for engine in ENGINES)
    assert [len(entries[0].text.split()) for entries in ours] == [14, 1023, 1023]
    assert all(entries[0].truncated for entries in [*ours, *reference])
    # Sums have another order: in a thousand tokens, a near-tie may fall the other way.
    assert [len(entries[0].text.split()) for entries in reference] == [14, 1023, 1023]
    assert texts(ours)[0] == texts(reference)[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_source_may_have_as_many_tokens_as_there_are_positions(tiny: Tiny, engine: str) -> None:
    """1023 and the end of the sentence. What is longer is told by its line, before anything is translated."""
    how = search(max_length_factor=0.001)
    assert translate(tiny.folder, ["w1", long_line(1023)], how, engine)[1][0].text
    with pytest.raises(
        bridge.ModelError,
        match="source, line 3: 1025 BPE tokens, the model takes 1024; train the model again: a new one takes",
    ):
        next(translations(tiny.folder, ["w1", "w2", long_line(1024)], how, engine))


def test_long_lines_are_translated_alike_by_both_engines(long: Tiny) -> None:
    """Beyond fairseq's own 1024 positions and beyond the tokens of a batch, between short lines."""
    sources = ["w1 w2", long_line(5000), long_line(1500), "w3"]
    how = search(max_length_factor=0.003)
    ours, reference = (translate(long.folder, sources, how, engine) for engine in ENGINES)
    assert texts(ours) == texts(reference)
    assert len(set(map(tuple, texts(ours)))) == 4
    short = translate(long.folder, [sources[0], sources[3]], how, "ctranslate2")
    assert [texts(ours)[0], texts(ours)[3]] == texts(short)


def test_outputs_are_as_long_as_positions_allow_by_both_engines(long: Tiny, tmp_path: Path) -> None:
    folder, how = never_ending(long, tmp_path / "endless"), search(max_length_offset=1300)
    ours, reference = (translate(folder, ["w1", "w2 w3"], how, engine) for engine in ENGINES)
    assert [len(text.split()) for (text,) in texts(ours)] == [1302, 1304]
    assert texts(ours) == texts(reference)


def test_greedy_search_is_the_same_by_both_engines(greedy_by_engine: dict[str, list[Hypothesis]]) -> None:
    ours, reference = greedy_by_engine["ctranslate2"], greedy_by_engine["fairseq"]
    assert [one.text for one in ours] == [other.text for other in reference]
    assert [one.truncated for one in ours] == [other.truncated for other in reference]
    whole = [
        (one.score, other.score) for one, other in zip(ours, reference, strict=True) if not one.truncated
    ]
    assert 5 < len(whole) < 35  # some end by themselves, some are cut
    # fairseq forbids EOS as first token after the softmax, CTranslate2 before it: scores differ by the little
    # mass of EOS there.
    assert all(one == pytest.approx(other, abs=0.02) for one, other in whole)
    assert len({one.text for one in ours}) > 20


@pytest.mark.parametrize("engine", ENGINES)
def test_truncated_outputs_are_those_that_meet_the_limit(
    tiny: Tiny, greedy_by_engine: dict[str, list[Hypothesis]], engine: str
) -> None:
    for source, hypothesis in zip(tiny.sources, greedy_by_engine[engine], strict=True):
        length = len(hypothesis.text.split())
        assert length <= search().limit(len(source.split()))
        assert hypothesis.truncated == (length == search().limit(len(source.split())))
    short = search(max_length_factor=0.5, max_length_offset=1)
    for source, (hypothesis,), (whole) in zip(
        tiny.sources,
        translate(tiny.folder, tiny.sources, short, engine),
        greedy_by_engine[engine],
        strict=True,
    ):
        limit = len(source.split()) // 2 + 1
        assert hypothesis.text.split() == whole.text.split()[:limit]
        assert hypothesis.truncated == (len(whole.text.split()) >= limit)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("beam", [1, 4])
def test_line_is_translated_alike_in_any_company(
    tiny: Tiny, engine: str, beam: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order, the batches and the other lines: also where a search meets its limit."""
    together = texts(translate(tiny.folder, tiny.sources, search(beam=beam, nbest=beam), engine))
    seen: list[tuple[int, int]] = []
    back = translate(
        tiny.folder,
        tiny.sources[::-1],
        search(beam=beam, nbest=beam),
        engine,
        lambda done, total: seen.append((done, total)),
    )
    assert texts(back)[::-1] == together
    assert seen == [(done, 40) for done in range(1, 41)]
    assert (
        texts(translate(tiny.folder, tiny.sources[5:15], search(beam=beam, nbest=beam), engine))
        == together[5:15]
    )
    for module in (with_ctranslate2, with_fairseq):
        monkeypatch.setattr(module, "BATCH_TOKENS", 25)
    monkeypatch.setattr(with_ctranslate2, "UNDER_WAY", 3)
    assert texts(translate(tiny.folder, tiny.sources, search(beam=beam, nbest=beam), engine)) == together


@pytest.mark.parametrize("engine", ENGINES)
def test_nbest_come_best_first(tiny: Tiny, engine: str) -> None:
    for entries in translate(tiny.folder, tiny.sources, search(beam=4, nbest=3), engine):
        assert len(entries) == 3
        scores = [hypothesis.score for hypothesis in entries]
        assert scores == sorted(scores, reverse=True)
        assert len({hypothesis.text for hypothesis in entries}) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_beam_finds_what_scores_at_least_as_well(
    tiny: Tiny, greedy_by_engine: dict[str, list[Hypothesis]], engine: str
) -> None:
    wide = [entries[0] for entries in translate(tiny.folder, tiny.sources, search(beam=6), engine)]
    assert sum(one.score for one in wide) > sum(one.score for one in greedy_by_engine[engine])
    assert [one.text for one in wide] != [one.text for one in greedy_by_engine[engine]]


@pytest.mark.parametrize("engine", ENGINES)
def test_length_penalty_is_passed_on(tiny: Tiny, engine: str) -> None:
    short, long = (
        sum(
            len(entries[0].text.split())
            for entries in translate(
                tiny.folder, tiny.sources, search(beam=4, length_penalty=penalty), engine
            )
        )
        for penalty in (0.0, 2.0)
    )
    assert short < long


def test_curves_view_has_a_limit_for_each_line(endless: Path) -> None:
    """The next power of two above the source's length, and 20: no short line waits for a long one. None is
    beyond the model's positions."""
    sources = ["w1", "w1 w2 w3 w4", long_line(1023), "w5 w6 w7"]
    loaded = bridge.load_model(endless, "cpu")
    found = greedy(loaded, sources)
    assert [len(text.split()) for text in found] == [22, 28, 1023, 24]
    elsewhere = greedy(replace(loaded, device="not a cpu"), sources)  # by fairseq's search
    assert [elsewhere[i] for i in (0, 1, 3)] == [found[i] for i in (0, 1, 3)]


def test_curves_view_is_greedy_search(tiny: Tiny) -> None:
    loaded = bridge.load_model(tiny.folder, "cpu")
    wanted = translate(
        tiny.folder, tiny.sources, search(max_length_factor=1.0, max_length_offset=CURVE_OFFSET), "fairseq"
    )
    found = greedy(loaded, tiny.sources)
    assert all(
        entries[0].text == text or entries[0].truncated for entries, text in zip(wanted, found, strict=True)
    )
    assert all(text.startswith(entries[0].text) for entries, text in zip(wanted, found, strict=True))
    assert sum(not entries[0].truncated for entries in wanted) > 5


def test_blank_is_never_written(tiny: Tiny, tmp_path: Path) -> None:
    """Padding, which CTranslate2 calls <blank>, though the model finds it likeliest everywhere."""
    folder = changed(
        tiny,
        tmp_path,
        lambda weights, words: weights["encoder.embed_tokens.weight"][words.pad(), 0].fill_(9.0),
    )
    pad = bridge.load_model(folder, "cpu").dictionary.pad()
    assert all(
        ids.eq(pad).all() for _, ids, _ in distributions(folder, tiny.sources, tiny.targets, 1, 1.0, 1000)
    )
    searches = [(engine, search(beam=beam)) for engine in ENGINES for beam in (1, 3)]
    for engine, how in [*searches, ("fairseq", drawn()), ("fairseq", drawn(top_p=0.5))]:
        written = {
            word
            for entries in translate(folder, tiny.sources, how, engine)
            for word in entries[0].text.split()
        }
        assert written and not written & {"<pad>", "<blank>"}, (engine, how)


def test_lost_line_is_no_silence(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = with_ctranslate2.nbest_lists
    monkeypatch.setattr(with_ctranslate2, "nbest_lists", lambda *given: list(whole(*given))[1:])
    with pytest.raises(ValueError, match="shorter"):
        translate(tiny.folder, tiny.sources[:3], search(), "ctranslate2")


def test_no_sources_no_translations(tiny: Tiny) -> None:
    assert translate(tiny.folder, [], search(), "ctranslate2") == []


def test_translation_leaves_torchs_threads_as_they_are(tiny: Tiny) -> None:
    """A translator sets OpenMP's number of threads, which is torch's too: a training would go on with one."""
    before = torch.get_num_threads()
    with_ctranslate2.forget()
    torch.set_num_threads(3)
    try:
        translate(tiny.folder, tiny.sources[:2], search(), "ctranslate2")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_library_that_a_gpu_lacks_is_told(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPI's torch brings CUDA 13, CTranslate2 wants the cuBLAS of CUDA 12."""

    def result(_: Any) -> None:
        raise RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")

    monkeypatch.setattr(with_ctranslate2, "_nbest", result)
    message = r"libcublas\.so\.12 is not found .*; it is built for CUDA 12: install nvidia-cublas-cu12"
    with pytest.raises(machine.MachineError, match=message):
        translate(tiny.folder, tiny.sources[:2], search(), "ctranslate2")


# Several GPUs


def on_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A machine of so many GPUs, as far as it is asked."""
    monkeypatch.setattr(machine, "device", lambda: "cuda" if count else "cpu")
    monkeypatch.setattr(machine, "gpus", lambda: count)
    monkeypatch.setattr(machine, "threads", lambda: 5)


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(0, ("cpu", 0, 5)), (1, ("cuda", [0], 1)), (3, ("cuda", [0, 1, 2], 1))],
    ids=["cpu", "one", "three"],
)
def test_translation_uses_all_gpus_with_a_worker_each(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, count: int, wanted: tuple[Any, ...]
) -> None:
    """On a CPU it has a worker a thread. CTranslate2 counts its `inter_threads` for each device."""
    made: list[dict[str, Any]] = []
    translator = ctranslate2.Translator

    def stub(folder: str, **how: Any) -> Any:
        made.append(how)
        return translator(folder, device="cpu", inter_threads=1, intra_threads=1)

    monkeypatch.setattr(ctranslate2, "Translator", stub)
    on_gpus(monkeypatch, count)
    with_ctranslate2.forget()
    found = translate(tiny.folder, tiny.sources, search(), "ctranslate2")
    assert all(len(entries) == 1 for entries in found) and len(found) == 40
    assert [(how["device"], how["device_index"], how["inter_threads"]) for how in made] == [wanted]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_gpus_that_translate_are_told(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """fairseq, which translates ensembles, takes one."""
    on_gpus(monkeypatch, count)
    assert gpus(tiny.folder, "ctranslate2") == count
    assert gpus(tiny.folder, "fairseq") == min(count, 1)
    for number in (1, 2):
        (tmp_path / bridge.member_name(number)).touch()
    assert gpus(tmp_path, "ctranslate2") == min(count, 1)


def test_curve_of_a_model_on_a_gpu_is_not_translated_by_all_of_them(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes of a training share them."""
    monkeypatch.setattr(with_ctranslate2, "of_converter", lambda *_: pytest.fail("takes all GPUs"))
    loaded = bridge.load_model(tiny.folder, "cpu")
    assert len(greedy(replace(loaded, device="not a cpu"), tiny.sources)) == 40
