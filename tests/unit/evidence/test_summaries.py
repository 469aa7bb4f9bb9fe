"""Cells over their seeds: scores, comparisons with plain students and rivals, what makes them unequal."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmtkd.evidence import headline
from nmtkd.evidence.bootstrap import bootstrap, by_group, sentence_statistics
from nmtkd.evidence.results import Result, ResultsError
from nmtkd.evidence.statistics import Comparison, pooled_luck
from nmtkd.evidence.summaries import Summary
from nmtkd.plan import layout
from tests.unit.evidence import report_tree
from tests.unit.evidence.report_tree import REFERENCES, REPORT

RIVALS: dict[str, Any] = {
    "methods": report_tree.methods(plain=["plain"], seq=["seq"], hybrid=["hybrid_best"]),
    "capacities": ["tiny"],
}
PLAIN, SEQ = ("plain", "tiny", "clean", "none"), ("seq", "tiny", "clean", "beam")
METHODS = ("seq", "plain")
HYBRID = ("hybrid_best", "tiny", "clean", "beam")


def _summaries(root: Path, **changes: Any) -> dict[tuple[str, ...], Summary]:
    """By cell, after the tree has been written if it is not there."""
    study = report_tree.grid(**changes)
    if not (root / layout.PREPARED).exists():
        report_tree.write(root, study)
    return {one.cell: one for one in report_tree.summarise(root, study)[1]}


def _score(result: Result, split: str, search: str) -> float:
    value = result.score(split, search, "bleu")
    assert value is not None
    return value


def test_one_seed_is_compared_by_each_search(tmp_path: Path) -> None:
    found = _summaries(tmp_path)
    assert {cell[:2] for cell in found} == {
        ("teacher", "teacher"),
        *((method, capacity) for method in ("plain", "seq") for capacity in ("tiny", "small")),
    }
    teacher = found["teacher", "teacher", "clean", "none"]
    assert not teacher.gains and not found[PLAIN].gains
    for search in ("beam", "beam_at_1", "greedy"):
        wanted = (
            found[SEQ].spreads["test", search, "bleu"].mean
            - found[PLAIN].spreads["test", search, "bleu"].mean
        )
        gain = found[SEQ].gains[search]
        assert gain.difference == pytest.approx(wanted, abs=1e-4)
        assert gain.evidence is not None and gain.evidence.low < wanted < gain.evidence.high


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
@pytest.mark.parametrize(
    ("key", "search"),
    [("seq-tiny-clean-beam-1", "beam"), ("plain-small-clean-1", "greedy"), ("teacher-clean", "beam_at_1")],
)
def test_translations_must_be_those_that_were_scored(
    tmp_path: Path, seeds: list[int], key: str, search: str
) -> None:
    study = report_tree.grid(seeds=seeds)
    report_tree.write(tmp_path, study)
    path = tmp_path / layout.translations_dir(key) / f"test.{search}"
    path.write_text("\n".join(REFERENCES) + "\n", encoding="utf-8")
    report_tree.stamp(tmp_path)
    with pytest.raises(
        ResultsError,
        match=rf"{key}: {search}: the translations score 100\.0000 BLEU on test, stored is .*; "
        "they are not of one evaluation: evaluate this cell again",
    ):
        report_tree.summarise(tmp_path, study)
    path.write_text("\n".join(REFERENCES[1:]) + "\n", encoding="utf-8")
    report_tree.stamp(tmp_path)
    with pytest.raises(
        ResultsError, match=f"{key}: {search}: 11 translations of test, which has 12 segments"
    ):
        report_tree.summarise(tmp_path, study)


def test_lower_cased_translations_are_compared_without_case(tmp_path: Path) -> None:
    """Of a corpus in lower case: its references have theirs."""
    study = report_tree.grid(capacities=["tiny"])
    report_tree.write(tmp_path, study)
    cased = _summaries(tmp_path, capacities=["tiny"])[SEQ].gains["beam"]
    for path in (tmp_path / layout.translations_dir("")).glob("*/test.*"):
        path.write_text(path.read_text(encoding="utf-8").lower(), encoding="utf-8")
    report_tree.stamp(tmp_path)
    lower = replace(report_tree.HEADLINE, lowercase=True)
    (seq,) = (one for one in report_tree.summarise(tmp_path, study, lower)[1] if one.gains)
    assert seq.gains["beam"] == cased


def test_groups_of_the_test_set_are_resampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headline, "LEAST_GROUPS", 3)
    study = report_tree.grid(capacities=["tiny"])
    report_tree.write(tmp_path, study)
    groups = [f"text {number // 4}" for number in range(12)]
    _, summaries = report_tree.summarise(tmp_path, study, replace(report_tree.HEADLINE, groups=groups))

    def counted(method: str) -> Any:
        lines: Sequence[str] = report_tree.translate(method, "tiny", "beam")
        return by_group(sentence_statistics(lines, REFERENCES, "13a"), groups)[None]

    wanted = bootstrap(
        counted("seq"),
        counted("plain"),
        None,
        samples=REPORT.bootstrap_samples,
        seed=REPORT.bootstrap_seed,
        confidence=REPORT.confidence,
    )
    (seq,) = (one for one in summaries if one.gains)
    assert seq.gains["beam"].evidence == wanted.evidence


def test_several_seeds_are_a_mean_of_pairs(tmp_path: Path) -> None:
    study = report_tree.grid(seeds=[1, 2, 3])
    report_tree.write(tmp_path, study)
    found, summaries = report_tree.summarise(tmp_path, study)
    (seq,) = (one for one in summaries if (one.method, one.capacity) == ("seq", "small"))
    values = {one.key: _score(one, "test", "beam") for one in found}
    wanted = [
        values[f"seq-small-clean-beam-{seed}"] - values[f"plain-small-clean-{seed}"] for seed in (1, 2, 3)
    ]
    assert seq.gains["beam"].difference == pytest.approx(sum(wanted) / 3, abs=1e-4)
    assert seq.spreads["test", "beam", "bleu"].n == 3


def test_each_search_has_the_luck_of_its_own_trainings(tmp_path: Path) -> None:
    """Pooled over the students' cells: by beam translations may hang on the seed more than by greedy search.

    What noise does is no luck.
    """
    study = report_tree.grid(seeds=[1, 2], capacities=["tiny"], noises=["clean", "del10"])
    report_tree.write(tmp_path, study)
    found, summaries = report_tree.summarise(tmp_path, study)
    (seq,) = (one for one in summaries if one.cell == SEQ)
    cells = {one.cell for one in found if one.role == "student"}
    lucks = set()
    for search in ("beam", "beam_at_1", "greedy"):
        luck = pooled_luck([[_score(one, "test", search) for one in found if one.cell == c] for c in cells])
        assert luck is not None
        ours, theirs = (
            np.stack(
                [
                    sentence_statistics(report_tree.translate(name, "tiny", search, seed), REFERENCES, "13a")
                    for seed in (1, 2)
                ]
            )
            for name in METHODS
        )
        wanted = bootstrap(
            ours,
            theirs,
            luck,
            samples=REPORT.bootstrap_samples,
            seed=REPORT.bootstrap_seed,
            confidence=REPORT.confidence,
        ).evidence
        evidence = seq.gains[search].evidence
        assert wanted is not None
        assert evidence is not None
        assert (evidence.low, evidence.high) == pytest.approx((wanted.low, wanted.high), abs=0.01)
        lucks.add(round(luck.sd, 1))
    assert len(lucks) > 1, "else one could stand for the other"


def test_an_interval_over_seeds_grows_with_the_luck_of_other_cells(tmp_path: Path) -> None:
    """`seq` at `tiny` is the same in both grids; beside it may stand a method of more luck."""
    widths = []
    for name, method in (("steady", "plain"), ("lucky", "hybrid_best")):
        methods = report_tree.methods(plain=["plain"], seq=["seq"], hybrid=[method] * (method != "plain"))
        found = _summaries(tmp_path / name, capacities=["tiny"], methods=methods, seeds=[1, 2])
        told = found[SEQ].gains["beam"].evidence
        assert told is not None
        widths.append(told.high - told.low)
    assert widths[1] > widths[0]


def test_sizes_of_gated_students_are_means_over_seeds(tmp_path: Path) -> None:
    """Each seed keeps its own number of units: 61,000, 62,000 and 64,000 parameters of four bytes."""
    found = _summaries(tmp_path, **report_tree.ADAPTIVE, seeds=[1, 2, 4]).values()
    gated = [one for one in found if one.capacity == "gated"]
    assert [one.method for one in gated] == ["plain", "seq", "hybrid_best"]
    assert {(one.parameters, round(one.megabytes, 6)) for one in gated} == {(62_333, 0.249333)}
    assert {one.parameters for one in found if one.capacity == "tiny"} == {51_234}


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_a_small_test_set_gives_scores_and_no_evidence(tmp_path: Path, seeds: list[int]) -> None:
    study = report_tree.grid(seeds=seeds)
    report_tree.write(tmp_path, study)
    _, large = report_tree.summarise(tmp_path, study)
    _, small = report_tree.summarise(tmp_path, study, report_tree.SMALL)
    for one, other in zip(small, large, strict=True):
        assert all(gain.evidence is None and gain.verdict is None for gain in one.gains.values())
        for search, gain in other.gains.items():
            assert one.gains[search].difference == pytest.approx(gain.difference)
        assert all((spread.low, spread.high) == (None, None) for spread in one.spreads.values())
        assert [spread.mean for spread in one.spreads.values()] == [
            spread.mean for spread in other.spreads.values()
        ]


def test_comparisons_are_corrected_for_each_other(tmp_path: Path) -> None:
    """Four students of one p, 0.01 by 200 resamples: four times that by Holm."""
    found = _summaries(tmp_path, **RIVALS | {"capacities": ["tiny", "small"]})
    told = [one.gains["beam"].evidence for one in found.values() if one.gains]
    assert [round(one.p_value, 5) for one in told if one] == [0.00995] * 4
    assert [round(one.p_holm, 5) for one in told if one] == [0.0398] * 4
    assert {one.gains["beam"].verdict for one in found.values() if one.gains} == {1}


def test_the_level_that_params_ask_for_decides_on_verdicts_and_intervals(tmp_path: Path) -> None:
    """Holm's 0.0398 and 0.0199, of the leaders, say so at 95% and not at 98.5%; there intervals are wider."""
    study = report_tree.grid(**RIVALS | {"capacities": ["tiny", "small"], "seeds": [1, 2]})
    report_tree.write(tmp_path, study)
    verdicts, rivals, widths, spreads = [], [], [], []
    for confidence in (0.95, 0.985):
        asked = REPORT.model_copy(update={"confidence": confidence})
        found = {one.cell: one for one in report_tree.summarise(tmp_path, study, settings=asked)[1]}
        verdicts.append({one.gains["beam"].verdict for one in found.values() if one.gains})
        rivals.append({other.verdict for one in found.values() for other in one.rivals.values()})
        told, spread = found[SEQ].gains["beam"].evidence, found[SEQ].spreads["test", "beam", "bleu"]
        assert told is not None
        assert spread.high is not None
        widths.append(told.high - told.low)
        spreads.append(spread.high - spread.mean)
    assert verdicts == rivals == [{1}, {0}]
    assert widths[0] < widths[1] and spreads[0] < spreads[1]


def test_validation_says_who_is_compared_with_all_others(tmp_path: Path) -> None:
    """The test set has `hybrid_best` first; validation by beam search alone decides who leads."""
    found = _summaries(tmp_path, **RIVALS)
    assert {cell: list(one.rivals) for cell, one in found.items() if one.rivals} == {HYBRID: [SEQ]}
    ahead = found[HYBRID].rivals[SEQ].difference
    assert (
        ahead == pytest.approx(found[HYBRID].bleu("test") - found[SEQ].bleu("test"), abs=1e-4) and ahead > 0
    )
    study = report_tree.grid(**RIVALS)
    scores = next(one.scores for one in report_tree.summarise(tmp_path, study)[0] if one.cell == SEQ)
    edited = [
        one.model_dump() | ({"value": 99.0} if (one.split, one.search) == ("valid", "beam") else {})
        for one in scores
    ]
    report_tree.edit(tmp_path, "seq-tiny-clean-beam-1", {"scores": edited})
    found = _summaries(tmp_path, **RIVALS)
    assert {cell: list(one.rivals) for cell, one in found.items() if one.rivals} == {SEQ: [HYBRID]}
    assert found[SEQ].rivals[HYBRID].difference == pytest.approx(-ahead)
    assert found[SEQ].rivals[HYBRID].verdict == -1


def test_each_size_and_noise_has_its_own_leader(tmp_path: Path) -> None:
    """Beside the other distilled students there, by beam search with their own penalties."""
    found = _summaries(tmp_path, **RIVALS | {"capacities": ["tiny", "small"], "noises": ["clean", "del10"]})
    leaders = {cell: one for cell, one in found.items() if one.rivals}
    assert {cell[1:3] for cell in leaders} == {
        (size, noise) for size in ("tiny", "small") for noise in ("clean", "del10")
    }
    assert len(leaders) == 4
    for cell, one in leaders.items():
        ((other, ahead),) = one.rivals.items()
        assert other[1:3] == cell[1:3] and {other[0], cell[0]} == {"seq", "hybrid_best"}
        assert ahead.difference == pytest.approx(one.bleu("test") - found[other].bleu("test"), abs=1e-4)


def test_climbs_are_means_over_seeds(tmp_path: Path) -> None:
    """1.0 and 1.5 of two seeds are 1.25, which is more than 1; a seed without a curve leaves no mean."""
    study = report_tree.grid(**RIVALS, seeds=[1, 2])
    report_tree.write(tmp_path, study)
    for key, last in (("plain-tiny-clean", (13.0, 13.5)), ("seq-tiny-clean-beam", (13.0, 13.0))):
        for seed, bleu in enumerate(last, 1):
            path = tmp_path / layout.translations_dir(f"{key}-{seed}") / layout.CURVE
            rows = f"150,1,5.0,4.5,12.0,1,,\n200,1,5.0,4.5,{bleu},1,,\n"
            path.write_text(
                "update,epoch,train_loss,valid_loss,valid_bleu,target_tokens,gate,openness\n" + rows
            )
    path.write_text(path.read_text().replace(",12.0,", ",,"))
    report_tree.stamp(tmp_path)
    found = _summaries(tmp_path, **RIVALS, seeds=[1, 2])
    assert found[PLAIN].climb == pytest.approx(1.25) and found[PLAIN].climbs
    assert (found[SEQ].climb, found[SEQ].climbs) == (None, False)
    assert found[HYBRID].climb == pytest.approx(0.625) and not found[HYBRID].climbs


@pytest.mark.parametrize("change", [{"sentences": 2721}, {"trainings": 2}])
def test_unequal_data_are_told_of_any_seed(tmp_path: Path, change: dict[str, int]) -> None:
    found = _summaries(tmp_path, **RIVALS, seeds=[1, 2])
    assert {cell[0] for cell, one in found.items() if one.is_uneven} == {"hybrid_best"}
    assert (found[HYBRID].passes, found[SEQ].passes) == (4.0, 2.0)
    equal = {
        "updates": 300,
        "sentences": 2720,
        "passes": 3.0,
        "source_tokens": 1,
        "target_tokens": 1,
        "trainings": 1,
    }
    report_tree.edit(tmp_path, "seq-tiny-clean-beam-2", {"data": equal})
    found = _summaries(tmp_path, **RIVALS, seeds=[1, 2])
    assert not found[SEQ].is_uneven  # methods read texts of other lengths
    assert found[SEQ].passes == 2.5
    report_tree.edit(tmp_path, "seq-tiny-clean-beam-2", {"data": equal | change})
    found = _summaries(tmp_path, **RIVALS, seeds=[1, 2])
    assert found[SEQ].is_uneven and not found[PLAIN].is_uneven


def test_a_verdict_may_hang_on_the_length_penalty(tmp_path: Path) -> None:
    found = _summaries(tmp_path)
    small = found["seq", "small", "clean", "beam"]
    assert (small.gains["beam"].verdict, small.gains["beam_at_1"].verdict) == (1, 0)
    assert small.hangs_on_length and not found[SEQ].hangs_on_length and not found[PLAIN].hangs_on_length
    assert small.penalties == [1.4] and found[SEQ].penalties == [1.0]
    for differences, verdicts, hangs in (
        ((2.0, 0.3), (1, 0), True),
        ((0.2, -0.2), (0, 0), False),
        ((2.0, 0.9), (1, 1), False),
        ((2.0, -0.9), (None, None), False),
    ):
        searches = zip(("beam", "beam_at_1"), differences, verdicts, strict=True)
        gains = {search: Comparison(value, None, verdict) for search, value, verdict in searches}
        assert replace(small, gains=gains).hangs_on_length is hangs


def test_of_several_plain_methods_the_first_is_the_baseline(tmp_path: Path) -> None:
    methods = report_tree.methods(plain=["plain", "word"], seq=["seq"])
    found = _summaries(tmp_path, methods=methods, capacities=["tiny"])
    first, second = found[PLAIN], found["word", "tiny", "clean", "none"]
    assert not first.gains
    for one in (second, found[SEQ]):
        assert one.gains["beam"].difference == pytest.approx(one.bleu("test") - first.bleu("test"), abs=1e-4)


def test_a_student_is_compared_with_the_plain_one_of_its_noise(tmp_path: Path) -> None:
    found = _summaries(tmp_path, noises=["clean", "del10"], capacities=["tiny"])
    plains = []
    for noise in ("clean", "del10"):
        ours, plain = found["seq", "tiny", noise, "beam"], found["plain", "tiny", noise, "none"]
        wanted = ours.spreads["test", "beam", "bleu"].mean - plain.spreads["test", "beam", "bleu"].mean
        assert ours.gains["beam"].difference == pytest.approx(wanted, abs=1e-4)
        plains.append(plain.spreads["test", "beam", "bleu"].mean)
    assert abs(plains[0] - plains[1]) > 0.1, "else one could stand for the other"
