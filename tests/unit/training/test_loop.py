"""nmtkd.training.loop: the trainings that methods become, whole and killed on the way."""

import csv
import math
import re
import time
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nmtkd import machine
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import gated
from nmtkd.plan import layout
from nmtkd.plan.methods import FAMILIES, OnPolicy
from nmtkd.plan.models import Architecture
from nmtkd.plan.values import BFLOAT16, FLOAT16, FLOAT32
from nmtkd.training import loop, loss_scale, validation
from nmtkd.training.criterions.cross_entropy import use_chunked_cross_entropy
from nmtkd.training.options import distil
from nmtkd.training.step import Started, Stepper
from nmtkd.training.trained import Trained
from tests.conftest import Tiny
from tests.unit.distil.helpers import method
from tests.unit.network.building import GATED, PLAIN, built, long_line, recipe
from tests.unit.training.helpers import FORM, METHODS, Memory, Row, data, lengths, on_disk

Group = list[list[dict[str, Any]]]  # the batches of an update, each in parts


def trained(
    tiny: Tiny, adapt: loop.Adapt, folder: Path, architecture: Architecture = PLAIN, **changes: Any
) -> tuple[dict[str, Tensor], Trained]:
    """Weights after 12 updates on the tiny model's 40 lines, the same seed for all."""
    for name in ("scratch", "out"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = tiny.sources, tiny.targets
    text = data(tiny, lines, (lines[0][:9], lines[1][:9]), hypotheses=lines[1][::-1])
    how = recipe(updates=12, checkpoint_every=6, **changes)
    done = loop.train(text, architecture, how, 1, folder / "scratch", folder / "out", stage="t", adapt=adapt)
    return torch.load(folder / "out/model/model.pt", weights_only=True)["model"], done


def test_training_by_a_teacher_in_memory_is_training_by_stored_targets(
    tiny: Tiny, teacher_rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From float32 but for the order of sums; from float16 but for its eleven bits.

    A probability is off by 2^-11 of itself, and Adam divides a gradient by its own size, so that a weight is
    off by about that share of its way, which is 0.012 at most: 6e-6.
    """
    drawn = OnPolicy(share=0.0, temperature=1.0, from_update=0, max_length_offset=0)
    asked = method()
    adapt = distil(
        "online",
        asked.model_copy(update={"on_policy": drawn}),
        PLAIN,
        teachers=[tiny.folder / layout.MODEL],
        temperature=2.0,
    )
    wanted = trained(tiny, adapt, tmp_path / "online")[0]
    adapt = distil("word", asked, PLAIN, targets=on_disk(teacher_rows, tmp_path / "t"), temperature=2.0)
    half = trained(tiny, adapt, tmp_path / "half")[0]
    monkeypatch.setattr("nmtkd.training.task.TokenTargets", lambda _: Memory(teacher_rows))
    exact, plain = (
        trained(tiny, adapt, tmp_path / "exact")[0],
        trained(tiny, use_chunked_cross_entropy, tmp_path / "plain")[0],
    )
    # Keys' biases have no gradient (softmax does not see what is added to all): Adam makes steps of their
    # rounding errors.
    names = [name for name in wanted if not name.endswith("k_proj.bias")]
    off = [
        max((found[name] - wanted[name]).abs().max().item() for name in names)
        for found in (exact, half, plain)
    ]
    assert off[0] < 1e-6 < off[1] < 3e-5
    assert off[2] > 1e-3


# Which pairs are seen


def pairs_seen(run: loop.Run, monkeypatch: pytest.MonkeyPatch) -> tuple[Counter[int], Counter[int]]:
    """How often the first epoch and the first validation of a training see each pair."""
    seen: list[Counter[int]] = []
    held: list[Counter[int]] = []
    step, batches = Stepper.step, validation.batches

    def stepped(stepper: Stepper, group: Group) -> Started:
        seen.append(Counter(line for part in chain(*group) for line in part["id"].tolist()))
        return step(stepper, group)

    def validated(trainer: Any) -> list[dict[str, Any]]:
        found = batches(trainer)
        held.append(Counter(line for batch in found for line in batch["id"].tolist()))
        return found

    monkeypatch.setattr(Stepper, "step", stepped)
    monkeypatch.setattr(validation, "batches", validated)
    run.to_the_end()
    return sum(seen[: len(run.epochs)], Counter()), held[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_pair_is_seen_once_an_epoch_and_once_a_validation(
    tiny: Tiny, teacher_rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """Of whatever number: fairseq's own default leaves out what does not fill a batch with eight."""
    for train, valid in ((1, 2), (3, 1), (7, 5), (39, 12)):
        folder = tmp_path / f"{train}-{valid}"
        (folder / "scratch").mkdir(parents=True)
        adapt = distil(
            family,
            METHODS[family],
            PLAIN,
            targets=on_disk(teacher_rows[:train], folder / "t") if FAMILIES[family].targets else None,
            teachers=[tiny.folder / layout.MODEL],
            temperature=2.0,
        )
        lines = tiny.sources, tiny.targets
        text = data(
            tiny,
            (lines[0][:train], lines[1][:train]),
            (lines[0][:valid], lines[1][:valid]),
            hypotheses=lines[1][40 - train :] if METHODS[family].gate else None,
        )
        how = recipe(updates=8, checkpoint_every=8)
        run = loop.begin(text, PLAIN, how, 1, folder / "scratch", stage="t", adapt=adapt)
        assert len(run.epochs) <= how.updates
        with monkeypatch.context() as patch:
            seen, held = pairs_seen(run, patch)
        assert seen == Counter(range(train)) and held == Counter(range(valid))


# Long lines


def lengthy(
    tiny: Tiny, folder: Path, train: tuple[list[str], list[str]], longest: int = 1, **changes: Any
) -> Trained:
    """A training on these lines in batches of 100 tokens, with long validation lines among short ones."""
    valid = [*tiny.sources[:3], long_line(1500), long_line(5000)]
    for name in ("scratch", "out"):
        (folder / name).mkdir(parents=True)
    given = {name: changes.pop(name) for name in ("lengths", "hypotheses") if name in changes}
    text = data(tiny, train, (valid, valid[::-1]), form=replace(FORM, longest=longest), **given)
    how = recipe(curve_pairs=5)
    return loop.train(text, PLAIN, how, 1, folder / "scratch", folder / "out", stage="t", **changes)


def test_validation_takes_lines_longer_than_a_batch_of_training(tiny: Tiny, tmp_path: Path) -> None:
    """And longer than fairseq's own 1024 positions. The model file has positions for twice the longest."""
    lengthy(tiny, tmp_path, (tiny.sources, tiny.targets))
    with open(tmp_path / "out/curve.csv", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert all(0.0 < float(point["valid_loss"]) < 20.0 and point["valid_bleu"] for point in points)
    assert bridge.positions(tmp_path / "out/model") == 16384


def test_validation_loss_is_a_mean_over_tokens_however_batches_are_cut(tiny: Tiny, tmp_path: Path) -> None:
    """Twelve lines of one to nine words, in one batch and in several of unequal numbers of tokens."""
    lines = tiny.sources, tiny.targets
    text = data(tiny, lines, (lines[0][:12], lines[1][:12]))
    found, batches = [], []
    for number, max_tokens in enumerate((46, 1000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = loop.begin(text, PLAIN, recipe(max_tokens=max_tokens), 1, folder, stage="t")
        batches.append([int(batch["ntokens"]) for batch in validation.batches(run.trainer)])
        found.append(validation.loss(run.trainer))
    assert len(batches[0]) > 2 and len(set(batches[0])) > 1 and len(batches[1]) == 1
    assert sum(batches[0]) == batches[1][0] == sum(len(line.split()) + 1 for line in lines[1][:12])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_training_starts_from_the_weights_of_its_start(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first update; a killed one goes on from its checkpoint instead."""
    first, _ = trained(tiny, use_chunked_cross_entropy, tmp_path / "first")
    begun: list[dict[str, Tensor]] = []

    def noted(run: loop.Run) -> None:
        begun.append({name: value.clone() for name, value in run.trainer.get_model().state_dict().items()})
        monkeypatch.undo()
        run.to_the_end()

    start = tmp_path / "first/out/model" / layout.MODEL
    lines = tiny.sources, tiny.targets
    text, how = data(tiny, lines, (lines[0][:9], lines[1][:9])), recipe(updates=12, checkpoint_every=6)
    for name in ("scratch", "out"):
        (tmp_path / name).mkdir()
    places = tmp_path / "scratch", tmp_path / "out"
    for _ in range(2):
        monkeypatch.setattr(loop.Run, "to_the_end", noted)
        loop.train(text, PLAIN, how, 2, *places, stage="t", start=start)
    assert all(torch.equal(begun[0][name], value) for name, value in first.items())
    assert not all(torch.equal(begun[1][name], value) for name, value in first.items())


@pytest.mark.parametrize(("longest", "positions"), [(57, 16384), (20_000, 65_536)])
def test_positions_follow_the_longest_line_of_the_corpus_or_of_a_training(
    tiny: Tiny, tmp_path: Path, longest: int, positions: int
) -> None:
    """A test line that no training reads, and a teacher's translation that is in no corpus. Also where a
    killed training goes on."""
    text = data(
        tiny,
        (tiny.sources, tiny.targets),
        (tiny.sources[:2], tiny.targets[:2]),
        form=replace(FORM, longest=longest),
        hypotheses=[*tiny.targets[:-1], long_line(4100)],
    )
    for _ in range(2):
        run = loop.begin(text, PLAIN, recipe(), 1, tmp_path, stage="t")
        assert run.loaded.positions() == positions


@pytest.mark.parametrize(
    ("side", "given", "message"),
    [
        (
            0,
            {},
            r"train\.src, line 2: 151 BPE tokens in clean text, a batch holds 100; "
            r"raise training\.max_tokens, or lower prepare\.max_words$",
        ),
        (
            1,
            {"section": "teacher.training"},
            r"train\.tgt, line 2: 151 .*; raise teacher\.training\.max_tokens, or "
            r"lower prepare\.max_words$",
        ),
    ],
)
def test_training_line_that_no_batch_holds_says_what_to_do(
    tiny: Tiny, tmp_path: Path, side: int, given: dict[str, Any], message: str
) -> None:
    train = tiny.sources[:3], tiny.targets[:3]
    train[side][1] = long_line(150)
    with pytest.raises(bridge.ModelError, match=message):
        lengthy(tiny, tmp_path, train, **given)


def test_text_of_an_arm_may_be_longer_than_a_batch(tiny: Tiny, tmp_path: Path) -> None:
    """Noise or a teacher made it so: by the clean text the pair fits."""
    train = tiny.sources[:3], [*tiny.targets[:2], long_line(150)]
    done = lengthy(tiny, tmp_path, train, lengths=lengths(train[0], tiny.targets[:3]))
    assert done.card["data"]["sentences"] == 3 * 4


# What a training saw


def test_card_says_what_a_training_saw(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty pairs in batches of 50 tokens; twelve updates end in the midst of an epoch."""
    steps: list[list[dict[str, Any]]] = []
    step = Stepper.step

    def stepped(stepper: Stepper, group: Group) -> Started:
        steps.append(list(chain(*group)))
        return step(stepper, group)

    monkeypatch.setattr(Stepper, "step", stepped)
    _, done = trained(tiny, use_chunked_cross_entropy, tmp_path, max_tokens=50)
    lines = [line for parts in steps for part in parts for line in part["id"].tolist()]
    sources, targets = (
        sum(len(side[line].split()) + 1 for line in lines) for side in (tiny.sources, tiny.targets)
    )
    assert done.card["data"] == {
        "updates": 12,
        "sentences": len(lines),
        "passes": round(len(lines) / 40, 4),
        "source_tokens": sources,
        "target_tokens": targets,
        "trainings": 1,
    }
    assert 1.0 < done.card["data"]["passes"] < 12.0 and len(lines) % 40


# What it tells: units that close, and the time it takes


def test_units_close_at_their_update_and_are_measured_on_the_whole_validation_set(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is not train, and is several batches; the curve's pairs are of it too."""
    lines = tiny.sources, tiny.targets
    valid = lines[0][:12], lines[1][:12]
    how = recipe(updates=9, checkpoint_every=3, max_tokens=46, curve_pairs=20)
    run = loop.begin(data(tiny, lines, valid), GATED, how, 1, tmp_path, stage="t")
    closed: list[tuple[int, int, Counter[int]]] = []
    measured: list[tuple[int, validation.Sides]] = []
    close = gated.close

    def noted(model: Any, batches: list[dict[str, Any]], *rest: Any) -> None:
        seen = Counter(line for batch in batches for line in batch["id"].tolist())
        closed.append((run.trainer.get_num_updates(), len(batches), seen))
        close(model, batches, *rest)

    def bleu(loaded: Any, sides: validation.Sides, form: Any) -> float:
        measured.append((run.trainer.get_num_updates(), sides))
        return 20.0 + len(measured)

    monkeypatch.setattr(gated, "close", noted)
    monkeypatch.setattr(validation, "bleu", bleu)
    run.to_the_end()
    ((update, batches, seen),) = closed
    assert update == 6 and batches > 2 and seen == Counter(range(12))
    assert measured == [(place, valid) for place in (3, 6, 6, 6, 9)]
    assert [row[4] for row in run.curve.rows] == [21.0, 24.0, 25.0]
    told = capsys.readouterr().out
    assert "[t] update 6: gates close, validation BLEU 22.0 before and 23.0 after\n" in told
    assert re.findall(r"\[t\] (update \d+): train .*, (BLEU .*)\n", told) == [
        (f"update {place}", f"BLEU {score} (greedy, 12 validation pairs)")
        for place, score in ((3, 21.0), (6, 24.0), (9, 25.0))
    ]


def test_seconds_are_those_of_its_updates_and_tell_what_is_left(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not those of preparing, of validation and of closing units; of a killed training those up to its last
    checkpoint count on. Its ninth update is the one that kills it."""
    now = [math.ceil(time.monotonic()) + 1000]  # later than whatever was told of other trainings

    def takes(seconds: int, place: Any, name: str) -> None:
        whole = getattr(place, name)

        def slow(*given: Any, **how: Any) -> Any:
            now[0] += seconds
            if now[0] == killing:
                raise ZeroDivisionError
            return whole(*given, **how)

        monkeypatch.setattr(place, name, slow)

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    takes(10, Stepper, "step")
    takes(100, validation, "loss")
    takes(1000, gated, "close")
    takes(10000, loop.Run, "resume")
    killing = now[0] + 10000 + 1000 + 100 + 9 * 10
    with pytest.raises(ZeroDivisionError):
        trained(tiny, use_chunked_cross_entropy, tmp_path, GATED)
    done = trained(tiny, use_chunked_cross_entropy, tmp_path, GATED)[1]
    assert done.seconds == 120.0
    left = re.findall(r"\[t\] (\d+)/12 updates, .*, about (\d+) s left\n", capsys.readouterr().err)
    assert [int(update) for update, _ in left[-6:]] == [7, 8, 9, 10, 11, 12]
    assert [int(seconds) for _, seconds in left] == [(12 - int(update)) * 10 for update, _ in left]


# Killed trainings


def killed(*arguments: Any, **changes: Any) -> None:
    """A training that dies at its ninth update."""
    with pytest.MonkeyPatch.context() as patch:
        step, calls = Stepper.step, iter([*[False] * 8, True])
        patch.setattr(Stepper, "step", lambda *given: 1 / 0 if next(calls) else step(*given))
        with pytest.raises(ZeroDivisionError):
            trained(*arguments, **changes)


def test_killed_hybrid_of_gated_units_goes_on_as_if_nothing_were(
    tiny: Tiny, teacher_rows: list[Row], tmp_path: Path
) -> None:
    """The gate's weights and their moments are part of the state. Both means stand in the curve."""
    asked = method(sequence="gold_and_hypothesis", gate={"kind": "learned", "values": []})
    adapt = distil("hybrid", asked, GATED, targets=on_disk(teacher_rows, tmp_path / "t"), temperature=2.0)
    whole, done = trained(tiny, adapt, tmp_path / "whole", GATED, dropout=0.1)
    killed(tiny, adapt, tmp_path / "killed", GATED, dropout=0.1)
    found, again = trained(tiny, adapt, tmp_path / "killed", GATED, dropout=0.1)
    assert all(torch.equal(found[name], weight) for name, weight in whole.items())
    with open(tmp_path / "whole/out/curve.csv", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert [point["update"] for point in points] == ["6", "12"]
    assert 0.0 < float(points[1]["gate"]) < 0.5 or 0.5 < float(points[1]["gate"]) < 1.0
    opened = 1 / (1 + math.exp(-2.0))  # where the gates' biases are 2 at first
    assert float(points[0]["openness"]) == pytest.approx(opened, abs=0.05)
    assert (tmp_path / "whole/out/curve.csv").read_bytes() == (tmp_path / "killed/out/curve.csv").read_bytes()
    trimmed = bridge.load_model(tmp_path / "whole/out/model", "cpu")
    assert trimmed.parameters() == built(tiny)[0].parameters() - 48 * (2 * 17 + 16)
    card = done.card["gates"]
    assert done.card == again.card
    assert (card["units"], card["kept"], card["effective_capacity"]) == (96, 48, 0.5)
    assert set(card) > {"valid_bleu_before", "valid_bleu_closed", "valid_bleu_end"}


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_killed_online_training_goes_on_as_if_nothing_were(tiny: Tiny, tmp_path: Path, share: float) -> None:
    """Its teacher is read once more on the way: training's random numbers must not notice."""
    drawn = OnPolicy(share=share, temperature=1.0, from_update=0, max_length_offset=0)
    asked = method().model_copy(update={"on_policy": drawn})
    adapt = distil("online", asked, PLAIN, teachers=[tiny.folder / layout.MODEL], temperature=2.0)
    whole, _ = trained(tiny, adapt, tmp_path / "whole", dropout=0.3)
    killed(tiny, adapt, tmp_path / "killed", dropout=0.3)
    found, _ = trained(tiny, adapt, tmp_path / "killed", dropout=0.3)
    assert all(torch.equal(found[name], weight) for name, weight in whole.items())


# Several batches an update


def updates_of(run: loop.Run, monkeypatch: pytest.MonkeyPatch) -> list[list[list[int]]]:
    """The lines of each part of each update of a training."""
    found: list[list[list[int]]] = []
    step = Stepper.step

    def stepped(stepper: Stepper, group: Group) -> Started:
        found.append([part["id"].tolist() for part in chain(*group)])
        return step(stepper, group)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", stepped)
        run.to_the_end()
    return found


def begun(tiny: Tiny, folder: Path, **changes: Any) -> loop.Run:
    folder.mkdir()
    lines = tiny.sources, tiny.targets
    text = data(tiny, lines, (lines[0][:3], lines[1][:3]))
    return loop.begin(text, PLAIN, recipe(**changes), 1, folder, stage="t")


def test_updates_of_several_batches_take_them_in_the_order_of_one(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch of eight batches is updates of three, three and two; as many updates as are asked for."""
    one = begun(tiny, tmp_path / "one", updates=16, checkpoint_every=16, max_tokens=52)
    assert len(one.epochs) == 8
    single = updates_of(one, monkeypatch)
    run = begun(tiny, tmp_path / "several", updates=6, checkpoint_every=6, max_tokens=52, accumulate=3)
    several = updates_of(run, monkeypatch)
    assert [len(parts) for parts in several] == [3, 3, 2, 3, 3, 2]
    assert [part for parts in several for part in parts] == [part for parts in single for part in parts]
    assert run.seen.updates == 6 and run.seen.sentences == 80 == one.seen.sentences
    assert run.trainer.get_num_updates() == 6


def test_update_of_several_batches_is_that_of_their_sum(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient is the sum over both batches, divided by the tokens of both; stock loss, by hand.

    Adam's first moment after one update is the gradient times 1 - 0.9.
    """
    changes: dict[str, Any] = {
        "updates": 1,
        "checkpoint_every": 1,
        "max_tokens": 52,
        "accumulate": 2,
        "clip_norm": 0.0,
    }
    run = begun(tiny, tmp_path / "run", warmup=1, **changes)
    model = run.trainer.get_model()
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    (parts,) = updates_of(run, monkeypatch)
    moments = run.trainer.optimizer.optimizer.state
    found = {name: moments[weight]["exp_avg"] / 0.1 for name, weight in model.named_parameters()}
    model.load_state_dict(start)
    model.zero_grad()
    criterion = run.task.build_criterion(bridge.configuration(run.command).criterion)
    total, tokens = 0.0, 0
    for lines in parts:
        sources, targets = ([side[line] for line in lines] for side in (tiny.sources, tiny.targets))
        batch = bridge.collate(bridge.pairs(run.loaded, sources, targets), range(len(lines)), "cpu")
        summed, size, _ = criterion(model.train(), batch)
        summed.backward()
        total, tokens = total + float(summed.detach()), tokens + size
    assert len(parts) == 2 and tokens == run.seen.target_tokens
    for name, weight in model.named_parameters():
        assert weight.grad is not None
        assert torch.allclose(found[name], weight.grad / tokens, atol=1e-6), name
    ((_, _, loss, *_),) = run.curve.rows
    assert float(loss) == pytest.approx(total / tokens / math.log(2), abs=1e-3)


@pytest.mark.parametrize("precision", [FLOAT32, BFLOAT16, FLOAT16])
def test_killed_training_of_several_batches_an_update_goes_on_as_if_nothing_were(
    tiny: Tiny, tmp_path: Path, precision: str
) -> None:
    changes: dict[str, Any] = {"dropout": 0.1, "max_tokens": 52, "accumulate": 2, "precision": precision}
    whole, done = trained(tiny, use_chunked_cross_entropy, tmp_path / "whole", **changes)
    killed(tiny, use_chunked_cross_entropy, tmp_path / "killed", **changes)
    found, again = trained(tiny, use_chunked_cross_entropy, tmp_path / "killed", **changes)
    assert all(torch.equal(found[name], weight) for name, weight in whole.items())
    assert done.card == again.card and done.card["precision"] == precision


def test_loss_scale_goes_on_where_it_was(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It doubles after the 4th, 8th and 12th update. The killed training goes on from the 6th."""
    monkeypatch.setattr(loss_scale, "RAISED_AFTER", 4)
    scales, fits = list[float](), loss_scale.LossScale.fits

    def noted(scale: loss_scale.LossScale, norm: Tensor) -> bool:
        scales.append(scale.value)
        return fits(scale, norm)

    monkeypatch.setattr(loss_scale.LossScale, "fits", noted)
    killed(tiny, use_chunked_cross_entropy, tmp_path, precision=FLOAT16)
    assert scales == [128.0] * 4 + [256.0] * 4
    scales.clear()
    trained(tiny, use_chunked_cross_entropy, tmp_path, precision=FLOAT16)
    assert scales == [256.0] * 2 + [512.0] * 4


def test_precision_is_that_of_the_products_of_training_alone(tiny: Tiny, tmp_path: Path) -> None:
    """Weights that are kept, and the loss on the validation set, are in float32 for all."""
    found = {
        precision: trained(tiny, use_chunked_cross_entropy, tmp_path / precision, precision=precision)[0]
        for precision in (FLOAT32, BFLOAT16)
    }
    apart = [float((one - found[BFLOAT16][name]).abs().max()) for name, one in found[FLOAT32].items()]
    assert 0.0 < max(apart) < 12 * 0.001  # twelve updates of Adam by lr
    assert {one.dtype for one in found[BFLOAT16].values() if one.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize(
    ("precision", "device", "has", "said"),
    [
        (BFLOAT16, "cuda", False, True),
        (BFLOAT16, "cuda", True, False),
        (BFLOAT16, "cpu", False, False),
        (FLOAT16, "cuda", False, False),
    ],
)
def test_gpu_without_bfloat16_is_told_the_faster_precision(
    monkeypatch: pytest.MonkeyPatch, precision: str, device: str, has: bool, said: bool
) -> None:
    monkeypatch.setattr(machine, "device", lambda: device)
    monkeypatch.setattr(machine, "gpu_multiplies_bfloat16", lambda: has)
    told = loop.slow_on_gpu(recipe(precision=precision), "teacher.training")
    assert ("teacher.training.precision=float16" in told) is said and bool(told) is said
