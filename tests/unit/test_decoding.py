"""nmtkd.models.decoding: both engines find the same, in the order of the sources, within the limits."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import nmtkd_fairseq  # noqa: F401  makes fairseq know gated models
from nmtkd.models import decoding
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.models.decoding import Hypothesis, Search, greedy, translate
from nmtkd.models.scoring import distributions
from nmtkd.params import Sampling
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


def test_the_blank_is_never_written(tiny: Tiny, tmp_path: Path) -> None:
    """Padding, which CTranslate2 calls <blank>, though the model finds it likeliest everywhere."""
    folder = changed(tiny, tmp_path, lambda weights, words: weights["encoder.embed_tokens.weight"][words.pad(), 0].fill_(9.0))
    pad = bridge.load_model(folder, "cpu").dictionary.pad()
    assert all(ids.eq(pad).all() for _, ids, _ in distributions(folder, tiny.sources, tiny.targets, 1, 1.0, 1000))
    searches = [(engine, search(beam=beam)) for engine in ENGINES for beam in (1, 3)]
    for engine, how in [*searches, ("fairseq", drawn()), ("fairseq", drawn(top_p=0.5))]:
        written = {word for entries in translate(folder, tiny.sources, how, engine) for word in entries[0].text.split()}
        assert written and not written & {"<pad>", "<blank>"}, (engine, how)


def changed(tiny: Tiny, folder: Path, change: Callable[[dict[str, Any], Any], object], name: str = bridge.MODEL) -> Path:
    """A copy of the tiny model with other weights, beside what stands in the folder."""
    loaded = bridge.load_model(tiny.folder, "cpu")
    weights = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    change(weights, loaded.dictionary)
    for alias in ("decoder.embed_tokens.weight", "decoder.output_projection.weight"):
        weights[alias] = weights["encoder.embed_tokens.weight"]
    bridge.save_model(folder / name, tiny.command, weights, 10)
    for side in ("src", "tgt"):
        shutil.copy(tiny.folder / f"dict.{side}.txt", folder)
    return folder


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


# Draws


def drawn(temperature: float = 1.0, top_p: float = 1.0, seed: int = 1, **changes: Any) -> Search:
    return search(sampling=Sampling(temperature=temperature, top_p=top_p, seed=seed), **changes)


def test_a_seed_repeats_its_draws_and_another_one_does_not(tiny: Tiny) -> None:
    first, again, other = (translate(tiny.folder, tiny.sources, drawn(seed=seed), "fairseq") for seed in (1, 1, 2))
    assert first == again
    assert sum(one != two for one, two in zip(texts(first), texts(other), strict=True)) > 30


def test_draws_leave_the_generator_of_others_alone(tiny: Tiny) -> None:
    """What was drawn before changes no draw, and no draw changes what comes after."""
    loaded = bridge.load_model(tiny.folder, "cpu")
    found = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        found.append(list(decoding._generate([loaded], tiny.sources, drawn(), 10)))
        after = torch.rand(3)
        torch.manual_seed(seed)
        assert torch.equal(after, torch.rand(3))
    assert found[0] == found[1]


@pytest.mark.parametrize("how", [{"top_p": 1e-6}, {"temperature": 1e-3}, {"temperature": 1e-6}], ids=str)
def test_without_choice_a_draw_is_greedy(tiny: Tiny, found: dict[str, list[Hypothesis]], how: dict[str, Any]) -> None:
    """In the cold too, where the end of a sentence that meets its limit has a probability that float32 takes for 0."""
    drawn_texts = texts(translate(tiny.folder, tiny.sources, drawn(**how), "fairseq"))
    assert [entries[0] for entries in drawn_texts] == [hypothesis.text for hypothesis in found["fairseq"]]


def test_draws_come_in_the_order_of_their_sources(tiny: Tiny) -> None:
    """Which draw a line gets may depend on its batch; that it is of this line's distribution does not: here there is no choice."""
    together = translate(tiny.folder, tiny.sources, drawn(top_p=1e-6), "fairseq")
    assert translate(tiny.folder, tiny.sources[::-1], drawn(top_p=1e-6), "fairseq")[::-1] == together


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_draws_follow_the_models_distribution(tiny: Tiny, temperature: float) -> None:
    """First words of 2000 draws, each within 4 standard deviations of the binomial; no output is empty, so EOS is left out."""
    found, wanted = first_words(tiny, drawn(temperature=temperature, max_length_factor=0.1, max_length_offset=1), temperature)
    for word, share in wanted.items():
        assert abs(found[word] - 2000 * share) <= 4 * (2000 * share * (1 - share)) ** 0.5, word
    assert sum(found.values()) == 2000


def test_the_nucleus_holds_the_likeliest_words_alone(tiny: Tiny) -> None:
    """The fewest of them that hold top_p together."""
    found, shares = first_words(tiny, drawn(top_p=0.4, max_length_factor=0.1, max_length_offset=1), 1.0)
    nucleus, held = [], 0.0
    for word, share in sorted(shares.items(), key=lambda item: -item[1]):
        if held < 0.4:
            nucleus.append(word)
            held += share
    assert set(found) == set(nucleus)
    assert 1 < len(nucleus) < len(shares)


def first_words(tiny: Tiny, how: Search, temperature: float) -> tuple[Counter[str], dict[str, float]]:
    """First words of 2000 draws for one line, and the model's distribution over them."""
    entries = translate(tiny.folder, ["w1 w2 w3"] * 2000, how, "fairseq")
    dictionary = bridge.load_model(tiny.folder, "cpu").dictionary
    ((_, ids, probs),) = distributions(tiny.folder, ["w1 w2 w3"], [""], 24, temperature, 1000)
    shares = {dictionary[token]: share for token, share in zip(ids[0].tolist(), probs[0].tolist(), strict=True)}
    shares = {word: share for word, share in shares.items() if word not in ("</s>", "<pad>")}
    whole = sum(shares.values())
    return Counter(one[0].text for one in entries), {word: share / whole for word, share in shares.items()}


def test_several_draws_of_a_line_come_best_first(tiny: Tiny) -> None:
    for entries in translate(tiny.folder, tiny.sources, drawn(beam=4, nbest=3), "fairseq"):
        scores = [hypothesis.score for hypothesis in entries]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)


def test_draws_end_at_the_limit(tiny: Tiny) -> None:
    how = drawn(temperature=5.0, max_length_factor=0.5, max_length_offset=1)
    for source, (hypothesis,) in zip(tiny.sources, translate(tiny.folder, tiny.sources, how, "fairseq"), strict=True):
        assert len(hypothesis.text.split()) <= how.limit(source)
        assert hypothesis.truncated == (len(hypothesis.text.split()) == how.limit(source))


# Several models as one, and gated ones


@pytest.fixture
def other(tiny: Tiny, tmp_path: Path) -> Path:
    """A second model: the tiny one with other attention."""

    def change(weights: dict[str, Any], _: Any) -> None:
        for name, value in weights.items():
            if "attn" in name and name.endswith("weight"):
                value.mul_(-1.5)

    (tmp_path / "other").mkdir()
    return changed(tiny, tmp_path / "other", change)


def ensemble(folder: Path, *models: Path) -> Path:
    """A folder of several members."""
    folder.mkdir()
    for number, model in enumerate(models, start=1):
        shutil.copy(model / bridge.MODEL, folder / bridge.member_name(number))
        for side in ("src", "tgt"):
            shutil.copy(model / f"dict.{side}.txt", folder)
    return folder


@pytest.mark.parametrize("beam", [1, 4])
def test_an_ensemble_translates_by_fairseq_whatever_is_asked(tiny: Tiny, other: Path, tmp_path: Path, beam: int) -> None:
    both = ensemble(tmp_path / "both", tiny.folder, other)
    wanted = translate(both, tiny.sources, search(beam=beam, nbest=beam), "fairseq")
    assert translate(both, tiny.sources, search(beam=beam, nbest=beam), "ctranslate2") == wanted
    for member in (tiny.folder, other):
        assert texts(translate(member, tiny.sources, search(beam=beam, nbest=beam), "fairseq")) != texts(wanted)


def test_two_equal_members_translate_like_one(tiny: Tiny, tmp_path: Path) -> None:
    twice = ensemble(tmp_path / "twice", tiny.folder, tiny.folder)
    for how in (search(), search(beam=4, nbest=4), drawn()):
        alone, together = (translate(folder, tiny.sources, how, "fairseq") for folder in (tiny.folder, twice))
        assert texts(alone) == texts(together)
        for one, two in zip(alone, together, strict=True):
            assert [entry.score for entry in one] == pytest.approx([entry.score for entry in two], abs=2e-4)


def test_an_ensembles_greedy_words_are_the_argmax_of_the_mean(tiny: Tiny, other: Path, tmp_path: Path) -> None:
    """Along its own output each word is the likeliest of the members' mean."""
    both = ensemble(tmp_path / "both", tiny.folder, other)
    own = [entries[0].text for entries in translate(both, tiny.sources, search(), "ctranslate2")]
    dictionary = bridge.load_model(both, "cpu").dictionary
    for line, ids, _ in distributions(both, tiny.sources, own, 1, 1.0, 1000):
        said = [dictionary[token] for token in ids[:, 0].tolist()]
        words = own[line].split()
        # No output is empty: where EOS was the likeliest first word, the second best stands.
        assert said[1 : len(words)] == words[1:]
        assert said[0] in (words[0], "</s>")


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    """The tiny model's embeddings with gated blocks of 5, 9 and 7 units, as trimming leaves them."""
    folder = tmp_path_factory.mktemp("gated")
    command = [*tiny.command, "--gate-opening", "0.5", "--encoder-units", "5", "--decoder-units", "9,7"]
    command[command.index("transformer")] = bridge.GATED
    loaded = bridge.load_model(tiny.folder, "cpu")
    cfg = bridge.configuration(command)
    cfg.task.data = str(tiny.folder)
    weights = loaded.task.build_model(cfg.model).state_dict()
    generator = torch.Generator().manual_seed(7)
    for name, value in weights.items():
        if ".fc" in name:
            value.copy_(torch.randn(value.shape, generator=generator) * 0.5)
        elif name in loaded.model.state_dict():
            value.copy_(loaded.model.state_dict()[name])
    bridge.save_model(folder / bridge.MODEL, command, weights, 10)
    for side in ("src", "tgt"):
        shutil.copy(tiny.folder / f"dict.{side}.txt", folder)
    return folder


def test_a_gated_model_comes_back_in_its_trimmed_shape(gated: Path) -> None:
    model = bridge.load_model(gated, "cpu").model
    blocks = [layer.fc1 for side in (model.encoder, model.decoder) for layer in side.layers]
    assert [block.gate.out_features for block in blocks] == [5, 9, 7]


def test_a_gated_model_is_the_same_by_both_engines(tiny: Tiny, gated: Path) -> None:
    ours, reference = (translate(gated, tiny.sources, search(), engine) for engine in ENGINES)
    assert texts(ours) == texts(reference)
    assert len({entry[0] for entry in texts(ours)}) > 10
    assert texts(ours) != texts(translate(tiny.folder, tiny.sources, search(), "fairseq"))
    compared = 0
    eos = bridge.load_model(gated, "cpu").dictionary.eos()
    for line, ids, probs in distributions(gated, tiny.sources, [""] * len(tiny.sources), 24, 1.0, 1000):
        (one,), (two,) = ours[line], reference[line]
        if not two.truncated:
            # fairseq forbids EOS as first token after the softmax, CTranslate2 before it.
            gap = -(1.0 - probs[0][ids[0] == eos]).log().item() / (len(two.text.split()) + 1)
            assert one.score == pytest.approx(two.score + gap, abs=3e-4)
            compared += 1
    assert compared > 3
