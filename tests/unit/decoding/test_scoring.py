"""nmtkd.decoding.scoring: distributions are the teacher's softmax, whatever the batch; and teacher
forcing."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nmtkd import machine
from nmtkd.decoding.scoring import distributions, forced, vocabulary
from nmtkd.decoding.translate import translate
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import gpu_memory, transformer
from nmtkd.plan import layout
from nmtkd.plan.values import BFLOAT16, FLOAT32
from tests.conftest import Tiny
from tests.unit.decoding.helpers import search
from tests.unit.network.building import long_line

LONG = long_line(1500), long_line(5000)
ALL = 24  # tokens of the tiny dictionary
Distributions = dict[int, tuple[Tensor, Tensor]]


def scored(
    tiny: Tiny,
    sources: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    top_k: int = 5,
    temperature: float = 1.0,
    max_tokens: int = 1000,
    precision: str = FLOAT32,
) -> Distributions:
    text = sources or tiny.sources, targets or tiny.targets
    rows = distributions(tiny.folder, *text, top_k, temperature, max_tokens, precision)
    found: Distributions = {}
    for line, ids, probs in rows:
        assert line not in found
        found[line] = ids, probs
    return found


def direct(tiny: Tiny, source: str, target: str) -> Tensor:
    """Logits [T, V] of one pair alone, from tensors made by hand."""
    loaded = bridge.load_model(tiny.folder, "cpu")
    tokens = [[loaded.dictionary.index(word) for word in line.split()] for line in (source, target)]
    eos = loaded.dictionary.eos()
    src = torch.tensor([[*tokens[0], eos]])
    with torch.no_grad():
        logits: Tensor = loaded.model(src, torch.tensor([src.size(1)]), torch.tensor([[eos, *tokens[1]]]))[0][
            0
        ]
    return logits


def dense(row: tuple[Tensor, Tensor]) -> Tensor:
    """[T, V] from ids and probabilities."""
    ids, probs = row
    return torch.zeros(len(ids), ALL).scatter(1, ids, probs)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
def test_distributions_are_a_direct_softmax(tiny: Tiny, temperature: float) -> None:
    found = scored(tiny, top_k=ALL, temperature=temperature)
    assert sorted(found) == list(range(40))
    for line in range(0, 40, 5):
        wanted = torch.softmax(direct(tiny, tiny.sources[line], tiny.targets[line]) / temperature, -1)
        assert wanted.shape == (len(tiny.targets[line].split()) + 1, ALL)
        assert torch.allclose(dense(found[line]), wanted, atol=1e-6)


def test_distributions_hold_the_largest_largest_first(tiny: Tiny) -> None:
    found, every = scored(tiny, top_k=5), scored(tiny, top_k=ALL)
    for line, (ids, probs) in found.items():
        assert ids.shape == probs.shape == (len(tiny.targets[line].split()) + 1, 5)
        assert probs.dtype == torch.float32
        assert (probs.diff(dim=1) <= 0).all()
        assert torch.allclose(probs, every[line][1][:, :5], atol=1e-6)
        assert torch.allclose(
            dense((ids, probs)).gather(1, ids), dense(every[line]).gather(1, ids), atol=1e-6
        )
        assert probs[:, 0].min() > 1 / ALL


def test_distributions_do_not_depend_on_batches_padding_and_order(tiny: Tiny) -> None:
    together = scored(tiny, top_k=ALL)
    apart = scored(tiny, top_k=ALL, max_tokens=12)
    back = scored(tiny, tiny.sources[::-1], tiny.targets[::-1], top_k=ALL, max_tokens=50)
    for line in range(40):
        assert torch.allclose(dense(together[line]), dense(apart[line]), atol=1e-6)
        assert torch.allclose(dense(together[line]), dense(back[39 - line]), atol=1e-6)


def test_prefix_does_not_see_what_follows(tiny: Tiny) -> None:
    found = scored(tiny, ["w1 w2", "w1 w2"], ["w3 w4 w5", "w3 w4 w9 w0"], top_k=ALL)
    assert torch.allclose(dense(found[0])[:3], dense(found[1])[:3], atol=1e-6)
    assert not torch.allclose(dense(found[0])[3], dense(found[1])[3], atol=1e-3)


def test_empty_prefix_has_the_position_of_its_end(tiny: Tiny) -> None:
    found = scored(tiny, ["w1", "w2"], ["w3", ""], top_k=ALL)
    assert torch.allclose(dense(found[1]), torch.softmax(direct(tiny, "w2", ""), -1), atol=1e-6)


def test_temperature_flattens_every_distribution(tiny: Tiny) -> None:
    one, two = scored(tiny, top_k=ALL), scored(tiny, top_k=ALL, temperature=2.0)
    for line, row in one.items():
        root = dense(row).sqrt()  # p_T is p ** (1 / T), normalised
        assert torch.allclose(dense(two[line]), root / root.sum(-1, keepdim=True), atol=1e-6)


def test_distributions_in_bfloat16_are_float32s_within_rounding(tiny: Tiny) -> None:
    """Logits that are off by d move KL by about d ** 2 / 2: 1e-4 is 0.014, four roundings of 1."""
    exact, half = scored(tiny, top_k=ALL), scored(tiny, top_k=ALL, precision=BFLOAT16)
    p, q = (torch.cat([dense(found[line]) for line in sorted(found)]).double() for found in (exact, half))
    assert half[0][1].dtype == torch.float32 and not torch.equal(p, q)
    assert float((p * (p / q).log()).sum(-1).mean()) < 1e-4


def test_top_k_beyond_the_dictionary_is_an_error(tiny: Tiny) -> None:
    scored(tiny, ["w1"], ["w1"], top_k=ALL)
    with pytest.raises(
        ValueError, match=r"targets\.top_k: 25 tokens asked for, the dictionary has 24; lower it"
    ):
        scored(tiny, top_k=ALL + 1)


def test_line_longer_than_a_batch_is_scored_alone(long: Tiny) -> None:
    """Also beyond fairseq's own 1024 positions, on either side."""
    pairs = [*zip(long.sources[:3], long.targets[:3], strict=True), LONG, LONG[::-1]]
    sources, targets = map(list, zip(*pairs, strict=True))
    found = scored(long, sources, targets, top_k=ALL, max_tokens=20)
    assert sorted(found) == [0, 1, 2, 3, 4]
    for line, pair in enumerate(pairs):
        assert len(found[line][0]) == len(pair[1].split()) + 1
        assert torch.allclose(dense(found[line]), torch.softmax(direct(long, *pair), -1), atol=1e-6)
    assert sorted(line for line, _, _ in forced(long.folder, sources, targets, 20, silent)) == sorted(found)


def test_line_beyond_the_teachers_positions_says_what_to_do(tiny: Tiny) -> None:
    for where, pair in (("source", [LONG[0], "w1"]), ("target", ["w1", LONG[1]])):
        with pytest.raises(
            bridge.ModelError, match=f"{where}, line 2: .* BPE tokens, .* 1024; train the model again"
        ):
            scored(tiny, ["w1", pair[0]], ["w1", pair[1]])


def test_vocabulary_counts_special_tokens(tiny: Tiny) -> None:
    assert vocabulary(tiny.folder) == ALL


class Played(gpu_memory.Gpu):
    """A GPU of 1000 bytes, of which a model holds 200 and each token 5: 160 tokens are its most."""

    most = 0

    def total(self) -> int:
        return 1000

    def room(self) -> int:
        return 1000

    def clear(self) -> None:
        self.most = 0

    def peak(self) -> int:
        return self.most


def test_batch_that_is_too_large_for_a_gpu_says_what_would_fit(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 40 lines have 10 tokens each, with padding."""
    gpu, tried = Played(), list[tuple[int, int]]()
    features = transformer.features

    def held(model: Any, **inputs: Any) -> Tensor:
        tried.append(tuple(inputs["src_tokens"].shape))
        gpu.most = 200 + 5 * tried[-1][0] * 10
        if gpu.most > 1000:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return features(model, **inputs)

    monkeypatch.setattr(gpu_memory, "Gpu", lambda: gpu)
    monkeypatch.setattr(transformer, "features", held)
    with pytest.raises(machine.MachineError) as caught:
        scored(tiny, max_tokens=400)
    assert tried == [(40, 10), (20, 10), (10, 10), (5, 10)]
    assert str(caught.value) == (
        "targets.max_tokens: 400 is too much for this GPU's 1000 bytes, of which 1000 bytes are free for it: "
        "about 150 would fit (the first 100 tokens of a batch took 700 bytes); lower it"
    )
    assert len(scored(tiny, max_tokens=150)) == 40


# An ensemble


@pytest.fixture
def members(tiny: Tiny, tmp_path: Path) -> list[Tiny]:
    """The tiny model, one of other weights, one of yet others; each in a folder of its own."""
    found = [tiny]
    for factor in (-1.5, 0.5):
        folder = tmp_path / f"by{factor}"
        folder.mkdir()
        weights = {
            name: value.clone()
            for name, value in bridge.load_model(tiny.folder, "cpu").model.state_dict().items()
        }
        for name, value in weights.items():
            if "attn" in name:
                value.mul_(factor)
        bridge.save_model(folder / layout.MODEL, tiny.command, weights, 10)
        for side in ("src", "tgt"):
            shutil.copy(tiny.folder / f"dict.{side}.txt", folder)
        found.append(Tiny(folder, tiny.command, tiny.sources, tiny.targets))
    return found


def together(folder: Path, members: Sequence[Tiny]) -> Tiny:
    folder.mkdir()
    for number, one in enumerate(members, start=1):
        shutil.copy(one.folder / layout.MODEL, folder / bridge.member_name(number))
        for side in ("src", "tgt"):
            shutil.copy(one.folder / f"dict.{side}.txt", folder)
    return Tiny(folder, members[0].command, members[0].sources, members[0].targets)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_ensembles_distribution_is_the_mean_of_its_members(
    members: list[Tiny], tmp_path: Path, temperature: float
) -> None:
    """The mean of probabilities at the temperature, neither of logits nor of log probabilities."""
    apart = [scored(one, top_k=ALL, temperature=temperature) for one in members]
    found = scored(together(tmp_path / "all", members), top_k=ALL, temperature=temperature)
    for line, row in found.items():
        views = torch.stack([dense(one[line]) for one in apart])
        assert torch.allclose(dense(row), views.mean(0), atol=1e-6)
        assert not torch.allclose(dense(row), torch.softmax(views.log().mean(0), -1), atol=1e-3)
        assert not torch.allclose(views[0], views[1], atol=1e-2)


def test_ensembles_k_best_are_its_own(members: list[Tiny], tmp_path: Path) -> None:
    """Chosen after the mean, not member by member."""
    folder = together(tmp_path / "all", members)
    found, every = scored(folder, top_k=3), scored(folder, top_k=ALL)
    for line, (ids, probs) in found.items():
        assert torch.equal(ids, every[line][0][:, :3])
        assert torch.allclose(probs, every[line][1][:, :3], atol=1e-6)


def test_ensemble_of_equal_members_scores_like_one(tiny: Tiny, tmp_path: Path) -> None:
    alone, twice = scored(tiny, top_k=ALL), scored(together(tmp_path / "twice", [tiny, tiny]), top_k=ALL)
    for line in alone:
        assert torch.equal(dense(alone[line]), dense(twice[line]))


def test_order_of_members_changes_no_distribution(members: list[Tiny], tmp_path: Path) -> None:
    one, back = (
        scored(together(tmp_path / name, order), top_k=ALL)
        for name, order in (("one", members), ("back", members[::-1]))
    )
    assert all(torch.allclose(dense(one[line]), dense(back[line]), atol=1e-6) for line in one)


# Teacher forcing


def in_order(outputs: Iterable[tuple[int, str, float]]) -> list[tuple[str, float]]:
    """Texts and scores by line."""
    lines, *found = zip(*sorted(outputs), strict=True)
    assert lines == tuple(range(len(lines)))
    return list(zip(*found, strict=True))


def silent(done: int, total: int) -> None:
    pass


def test_forced_along_its_own_greedy_output_a_teacher_repeats_it(tiny: Tiny) -> None:
    """And stops at its first EOS, whatever the text after it."""
    own = [entries[0] for entries in translate(tiny.folder, tiny.sources, search(), "fairseq")]
    whole = [index for index, hypothesis in enumerate(own) if not hypothesis.truncated]
    assert len(whole) > 5
    found = in_order(
        forced(
            tiny.folder,
            [tiny.sources[i] for i in whole],
            [f"{own[i].text} w3 w4" for i in whole],
            1000,
            silent,
        )
    )
    assert [text for text, _ in found] == [own[i].text for i in whole]
    assert [score for _, score in found] == pytest.approx([own[i].score for i in whole], abs=1e-3)


def test_forced_output_is_the_argmax_at_each_gold_prefix(tiny: Tiny) -> None:
    seen: list[tuple[int, int]] = []
    found = in_order(
        forced(tiny.folder, tiny.sources, tiny.targets, 50, lambda done, total: seen.append((done, total)))
    )
    assert seen == [(done, 40) for done in range(1, 41)]
    dictionary = bridge.load_model(tiny.folder, "cpu").dictionary
    longer = 0
    for line in range(0, 40, 3):
        lprobs = torch.log_softmax(direct(tiny, tiny.sources[line], tiny.targets[line]), -1)
        best, ids = lprobs.max(-1)
        length = next((place for place, token in enumerate(ids) if token == dictionary.eos()), len(ids))
        assert found[line][0] == " ".join(dictionary.symbols[token] for token in ids[:length])
        assert found[line][1] == pytest.approx(best[: length + 1].mean().item(), abs=1e-5)
        longer += length == len(tiny.targets[line].split()) + 1
    assert longer  # without an EOS of its own an output is one token longer than the gold text
