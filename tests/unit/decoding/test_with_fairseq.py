"""nmtkd.decoding.with_fairseq: draws, and several models as one."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from nmtkd.decoding import with_fairseq
from nmtkd.decoding.scoring import distributions
from nmtkd.decoding.search import Hypothesis, Search
from nmtkd.decoding.translate import translate
from nmtkd.network import fairseq_bridge as bridge
from tests.conftest import Tiny
from tests.unit.decoding.helpers import drawn, search, texts
from tests.unit.network.building import ensemble


def test_draws_of_a_seed_repeat_and_of_another_do_not(tiny: Tiny) -> None:
    first, again, other = (
        translate(tiny.folder, tiny.sources, drawn(seed=seed), "fairseq") for seed in (1, 1, 2)
    )
    assert first == again
    assert sum(one != two for one, two in zip(texts(first), texts(other), strict=True)) > 30


def test_draws_leave_the_generator_of_others_alone(tiny: Tiny) -> None:
    """What was drawn before changes no draw, and no draw changes what comes after."""
    loaded = bridge.load_model(tiny.folder, "cpu")
    found = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        found.append(list(with_fairseq.generate([loaded], tiny.sources, drawn(), 10)))
        after = torch.rand(3)
        torch.manual_seed(seed)
        assert torch.equal(after, torch.rand(3))
    assert found[0] == found[1]


def test_every_batch_of_every_group_draws_for_itself(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else lines of the same place in their batches would share their luck all over the corpus."""
    source, size = "w1 w2 w3", 10
    monkeypatch.setattr(with_fairseq, "BATCH_TOKENS", size * len([*source.split(), "</s>"]))
    groups = [([source] * 3 * size, 10)] * 3
    texts = [entries[0][0] for entries in with_fairseq.nbest_lists(tiny.folder, groups, drawn())]
    batches = {tuple(texts[start : start + size]) for start in range(0, len(texts), size)}
    assert len(texts) == 9 * size and len(batches) == 9


@pytest.mark.parametrize("how", [{"top_p": 1e-6}, {"temperature": 1e-3}, {"temperature": 1e-6}], ids=str)
def test_draw_without_choice_is_greedy(
    tiny: Tiny, greedy_by_engine: dict[str, list[Hypothesis]], how: dict[str, Any]
) -> None:
    """In the cold too, where the end of a sentence that meets its limit has a probability that float32
    takes for 0."""
    drawn_texts = texts(translate(tiny.folder, tiny.sources, drawn(**how), "fairseq"))
    assert [entries[0] for entries in drawn_texts] == [
        hypothesis.text for hypothesis in greedy_by_engine["fairseq"]
    ]


def test_draws_come_in_the_order_of_their_sources(tiny: Tiny) -> None:
    """Which draw a line gets may depend on its batch; that it is of this line's distribution does not:
    here there is no choice."""
    together = translate(tiny.folder, tiny.sources, drawn(top_p=1e-6), "fairseq")
    assert translate(tiny.folder, tiny.sources[::-1], drawn(top_p=1e-6), "fairseq")[::-1] == together


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_draws_follow_the_models_distribution(tiny: Tiny, temperature: float) -> None:
    """First words of 2000 draws, each within 4 standard deviations of the binomial; no output is empty, so
    EOS is left out."""
    found, wanted = first_words(
        tiny, drawn(temperature=temperature, max_length_factor=0.1, max_length_offset=1), temperature
    )
    for word, share in wanted.items():
        assert abs(found[word] - 2000 * share) <= 4 * (2000 * share * (1 - share)) ** 0.5, word
    assert sum(found.values()) == 2000


def test_nucleus_holds_the_likeliest_words_alone(tiny: Tiny) -> None:
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
    shares = {
        dictionary[token]: share for token, share in zip(ids[0].tolist(), probs[0].tolist(), strict=True)
    }
    shares = {word: share for word, share in shares.items() if word not in ("</s>", "<pad>")}
    whole = sum(shares.values())
    return Counter(one[0].text for one in entries), {word: share / whole for word, share in shares.items()}


def test_draws_of_one_line_come_best_first(tiny: Tiny) -> None:
    for entries in translate(tiny.folder, tiny.sources, drawn(beam=4, nbest=3), "fairseq"):
        scores = [hypothesis.score for hypothesis in entries]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)


def test_draws_end_at_the_limit(tiny: Tiny) -> None:
    how = drawn(temperature=5.0, max_length_factor=0.5, max_length_offset=1)
    for source, (hypothesis,) in zip(
        tiny.sources, translate(tiny.folder, tiny.sources, how, "fairseq"), strict=True
    ):
        assert len(hypothesis.text.split()) <= how.limit(len(source.split()))
        assert hypothesis.truncated == (len(hypothesis.text.split()) == how.limit(len(source.split())))


# Several models as one


@pytest.mark.parametrize("beam", [1, 4])
def test_ensemble_translates_by_fairseq_whatever_is_asked(
    tiny: Tiny, other: Path, tmp_path: Path, beam: int
) -> None:
    both = ensemble(tmp_path / "both", tiny.folder, other)
    wanted = translate(both, tiny.sources, search(beam=beam, nbest=beam), "fairseq")
    assert translate(both, tiny.sources, search(beam=beam, nbest=beam), "ctranslate2") == wanted
    for member in (tiny.folder, other):
        assert texts(translate(member, tiny.sources, search(beam=beam, nbest=beam), "fairseq")) != texts(
            wanted
        )


def test_ensemble_of_equal_members_translates_like_one(tiny: Tiny, tmp_path: Path) -> None:
    twice = ensemble(tmp_path / "twice", tiny.folder, tiny.folder)
    for how in (search(), search(beam=4, nbest=4), drawn()):
        alone, together = (translate(folder, tiny.sources, how, "fairseq") for folder in (tiny.folder, twice))
        assert texts(alone) == texts(together)
        for one, two in zip(alone, together, strict=True):
            assert [entry.score for entry in one] == pytest.approx([entry.score for entry in two], abs=2e-4)


def test_ensembles_greedy_words_are_the_argmax_of_the_mean(tiny: Tiny, other: Path, tmp_path: Path) -> None:
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
