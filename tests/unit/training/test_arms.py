"""All arms of a grid see the same pairs in the same updates, whatever their text."""

import itertools
from pathlib import Path

import pytest
import torch

from nmtkd.plan import layout
from nmtkd.plan.methods import FAMILIES
from nmtkd.training import loop
from nmtkd.training.options import distil
from tests.conftest import Tiny
from tests.unit.network.building import PLAIN, long_line, recipe
from tests.unit.training.helpers import METHODS, V, data, lengths, on_disk

NOISY = {"plain": "noise that shortens", "seq": "noise that lengthens"}
ARMS = {**{family: family for family in FAMILIES}, **{what: family for family, what in NOISY.items()}}
EPOCHS = 3


def shown(tiny: Tiny, arm: str, seed: int, folder: Path) -> tuple[list[list[int]], set[int]]:
    """The pairs of each update of some epochs, and in how many parts updates were."""
    family = ARMS[arm]
    gold = tiny.sources, tiny.targets
    train, said = gold, [long_line(len(line) % 23 + 1) for line in tiny.sources]
    if arm == NOISY["plain"]:
        train = ([line.split()[0] for line in gold[0]], [line.split()[-1] for line in gold[1]])
    if arm == NOISY["seq"]:
        train = ([f"{line} w1 w2" for line in gold[0]], said)
    if FAMILIES[family].hypotheses and not METHODS[family].gate:
        train = train[0], said
    along = {"gold": gold[1], "hypothesis": said}.get(FAMILIES[family].targets)
    rows = [
        (torch.arange(V).expand(size, V), torch.full((size, V), 1 / V))
        for _, size in lengths(said, along or said)
    ]
    text = data(
        tiny,
        train,
        (gold[0][:2], gold[1][:2]),
        lengths=lengths(*gold),
        hypotheses=said if METHODS[family].gate else None,
    )
    adapt = distil(
        family,
        METHODS[family],
        PLAIN,
        targets=on_disk(rows, folder / "t") if along else None,
        teachers=[tiny.folder / layout.MODEL],
        temperature=2.0,
    )
    run = loop.begin(text, PLAIN, recipe(max_tokens=40), seed, folder, stage="t", adapt=adapt)
    updates = [
        parts
        for _ in range(EPOCHS)
        for parts in run.epochs.next_epoch_itr(fix_batches_to_gpus=False, shuffle=True)
    ]
    lines = [sorted(line for part in parts for line in part["id"].tolist()) for parts in updates]
    assert len(lines) == EPOCHS * len(run.epochs) and len(run.epochs) > 5
    for start in range(0, len(lines), len(run.epochs)):
        assert sorted(itertools.chain(*lines[start : start + len(run.epochs)])) == list(range(40))
    return lines, set(map(len, updates))


@pytest.fixture(scope="module")
def plain_arm(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> list[list[int]]:
    return shown(tiny, "plain", 1, tmp_path_factory.mktemp("plain"))[0]


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm != "plain"])
def test_all_arms_see_the_same_pairs_in_the_same_updates(
    tiny: Tiny, tmp_path: Path, plain_arm: list[list[int]], arm: str
) -> None:
    """Whatever their text: noisy, shorter or longer. All that another seed changes is the order."""
    found, parts = shown(tiny, arm, 1, tmp_path)
    assert found == plain_arm
    own = arm not in ("word", "online", NOISY["plain"])
    assert (max(parts) > 1) == own


def test_batches_of_gold_text_are_those_of_fairseq(
    tiny: Tiny, tmp_path: Path, plain_arm: list[list[int]]
) -> None:
    """And another seed has another order."""
    run = loop.begin(
        data(tiny, (tiny.sources, tiny.targets), (tiny.sources[:2], tiny.targets[:2])),
        PLAIN,
        recipe(max_tokens=40),
        1,
        tmp_path,
        stage="t",
    )
    run.task.load_dataset("train")
    stock = run.trainer.get_train_iterator(epoch=1, load_dataset=False)
    found = [
        sorted(batch["id"].tolist())
        for _ in range(EPOCHS)
        for batch in stock.next_epoch_itr(fix_batches_to_gpus=False, shuffle=True)
    ]
    assert found == plain_arm
    assert shown(tiny, "plain", 2, tmp_path / "two")[0] != plain_arm
