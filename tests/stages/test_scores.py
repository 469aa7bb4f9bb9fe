"""Every score, table and chart datum, counted again from the translations and the corpus by other means."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
from sacremoses import MosesDetokenizer, MosesTokenizer
from scipy import stats

from nmtkd.decoding.search import Search
from nmtkd.decoding.translate import translate
from tests.stages.laboratory import LONG, SEEDS, SIZES, TOKENIZE, Laboratory

SETS, SEARCHES = ("valid", "test", "other"), ("beam", "beam_at_1", "greedy")
PLAIN, SEQ = ([f"{name}-{seed}" for seed in SEEDS] for name in ("plain-tiny-clean", "seq-tiny-clean-beam"))
KEYS = ["teacher-clean", *PLAIN, *SEQ]
NOISY = "teacher-del30"  # scored, and on no page
TRAINED = {
    "teacher-clean": "models/teacher/clean",
    NOISY: "models/teacher/del30",
    **{key: f"models/student/{key}" for key in PLAIN + SEQ},
}
SAMPLES, SEED = 200, 12345


def references(lab: Laboratory, split: str) -> list[str]:
    """As they came with the corpus."""
    return lab.text(f"corpus/{split}.tgt")


def translations(lab: Laboratory, key: str, split: str, search: str) -> list[str]:
    return lab.text(f"data/translations/{key}/{split}.{search}")


def table(lab: Laboratory, name: str) -> list[dict[str, str]]:
    with open(lab.folder / "reports" / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def counted(hypotheses: list[str], gold: list[str]) -> Any:
    """sacreBLEU of text."""
    return sacrebleu.corpus_bleu(hypotheses, [gold], tokenize=TOKENIZE)


def scores(hypotheses: list[str], gold: list[str]) -> dict[str, float]:
    """By sacreBLEU's own functions, of text; tokens by Moses for what counts on tokens."""
    bleu = counted(hypotheses, gold)
    moses = MosesTokenizer("fr")
    tokens = [[" ".join(moses.tokenize(line, escape=False)) for line in side] for side in (hypotheses, gold)]
    on_tokens = sacrebleu.corpus_bleu(tokens[0], [tokens[1]], tokenize="none", lowercase=True, force=True)
    return {
        "bleu": bleu.score,
        "bleu_tok_lc": on_tokens.score,
        "chrf2": sacrebleu.corpus_chrf(hypotheses, [gold]).score,
        "brevity_penalty": bleu.bp,
        "length_ratio": bleu.ratio,
    }


def subsets(lab: Laboratory) -> dict[str, tuple[str, list[int]]]:
    """What is scored: a set, and which of its segments. A test set's long ones have LONG words and more."""
    found = {split: (split, list(range(SIZES[split]))) for split in SETS}
    moses = MosesTokenizer("en")
    for split in ("test", "other"):
        sizes = [len(moses.tokenize(line)) for line in lab.text(f"corpus/{split}.src")]
        assert LONG in sizes and min(sizes) < LONG, "a segment on either side of the bound, and one at it"
        found[f"{split}_long"] = split, [i for i, size in enumerate(sizes) if size >= LONG]
    return found


@pytest.mark.parametrize("key", [*KEYS, NOISY])
def test_every_score_is_that_of_the_translations(lab: Laboratory, key: str) -> None:
    stored = {
        (one["split"], one["search"], one["metric"]): one["value"]
        for one in lab.json(f"data/translations/{key}/scores.json")["scores"]
    }
    found = {}
    for (name, (split, chosen)), search in itertools.product(subsets(lab).items(), SEARCHES):
        text = translations(lab, key, split, search)
        assert len(text) == SIZES[split]
        gold = references(lab, split)
        for metric, value in scores([text[i] for i in chosen], [gold[i] for i in chosen]).items():
            found[name, search, metric] = value
    assert stored.keys() == found.keys()
    # What is scored on tokens is scored on those of the model, which text does not always give back.
    near = {"bleu_tok_lc": 2.0}
    for place, value in found.items():
        assert stored[place] == pytest.approx(value, abs=near.get(place[2], 1e-4)), place
    assert len({round(value, 2) for (_, _, metric), value in stored.items() if metric == "bleu"}) > 4


@pytest.mark.parametrize("key", ["teacher-clean", NOISY])
def test_translations_are_text_by_the_target_languages_rules(lab: Laboratory, key: str) -> None:
    """And what is scored on tokens is scored on the model's own."""
    detokenise = MosesDetokenizer("fr")
    search = Search(beam=1, length_penalty=1.0, max_length_factor=2.0, max_length_offset=10)
    folder = lab.folder / TRAINED[key] / "model"
    found = translate(folder, lab.text("data/bpe/test.src"), search, "fairseq")
    tokens = [re.sub("@@( |$)", "", best.text) for best, *_ in found]
    text = [detokenise.detokenize(line.split(), unescape=False) for line in tokens]
    assert text == translations(lab, key, "test", "greedy")
    assert any("l'" in line for line in text) and not any("l' " in line for line in text)
    stored = {
        (one["split"], one["search"], one["metric"]): one["value"]
        for one in lab.json(f"data/translations/{key}/scores.json")["scores"]
    }
    moses = MosesTokenizer("fr")
    gold = [
        re.sub(r"(?<=\S)\.$", " .", moses.tokenize(line, return_str=True, escape=False))
        for line in references(lab, "test")
    ]
    wanted = sacrebleu.corpus_bleu(tokens, [gold], tokenize="none", lowercase=True, force=True).score
    assert stored["test", "greedy", "bleu_tok_lc"] == pytest.approx(wanted, abs=1e-4)


def test_scores_hang_on_the_references(lab: Laboratory) -> None:
    """And on all of them: against those of another segment a translation is worth less."""
    text = translations(lab, "teacher-clean", "test", "beam")
    gold = references(lab, "test")
    assert scores(text, gold)["bleu"] > 20.0 > scores(text, gold[1:] + gold[:1])["bleu"]


@pytest.mark.parametrize("key", KEYS)
def test_the_length_penalty_is_the_best_on_the_validation_set(lab: Laboratory, key: str) -> None:
    found = lab.json(f"data/translations/{key}/scores.json")
    tried = found["length_penalties"]
    assert list(tried) == ["0.6", "1.0", "1.4"]
    assert tried[str(found["length_penalty"])] == max(tried.values())
    of = {(one["split"], one["search"], one["metric"]): one["value"] for one in found["scores"]}
    assert of["valid", "beam", "bleu"] == pytest.approx(max(tried.values()))
    assert of["valid", "beam_at_1", "bleu"] == pytest.approx(tried["1.0"])


@pytest.mark.parametrize("key", KEYS)
def test_a_result_says_what_its_training_was(lab: Laboratory, key: str) -> None:
    """Counted where batches arrived."""
    stage = "teacher clean" if key == "teacher-clean" else f"student {key}"
    training, card = lab.trainings[stage], lab.json(f"{TRAINED[key]}/card.json")
    lines = [line for update in training.updates for line in update]
    sizes = {
        side: sum(len(training.lines[line][side].split()) + 1 for line in lines)
        for side in ("source", "target")
    }
    wanted = {
        "updates": len(training.updates),
        "sentences": len(lines),
        "passes": round(len(lines) / len(training.lines), 4),
        "source_tokens": sizes["source"],
        "target_tokens": sizes["target"],
        "trainings": 1,
    }
    weights = lab.model(TRAINED[key])
    own = [weights[name] for name in weights if "version" not in name and "_float_tensor" not in name]
    held = {value.data_ptr(): value.numel() for value in own}
    assert card["data"] == wanted == lab.json(f"data/translations/{key}/scores.json")["data"]
    (row,) = [row for row in table(lab, "runs.csv") if row["key"] == key]
    assert {name: float(row[name]) for name in wanted} == wanted
    assert int(row["parameters"]) == card["parameters"] == sum(held.values())


def test_results_csv_holds_every_score(lab: Laboratory) -> None:
    rows = table(lab, "results.csv")
    cells = {
        "teacher-clean": ("teacher", "teacher", "clean", "none", "0"),
        **{key: ("plain", "tiny", "clean", "none", key[-1]) for key in PLAIN},
        **{key: ("seq", "tiny", "clean", "beam", key[-1]) for key in SEQ},
    }
    axes = ("method", "capacity", "noise", "decoding", "seed")
    assert len(rows) == len(KEYS) * len(subsets(lab)) * len(SEARCHES) * 5
    for key, cell in cells.items():
        held = {
            (row["split"], row["search"], row["metric"]): float(row["value"])
            for row in rows
            if tuple(row[axis] for axis in axes) == cell
        }
        stored = lab.json(f"data/translations/{key}/scores.json")["scores"]
        assert held == {(one["split"], one["search"], one["metric"]): one["value"] for one in stored}


def bleu(lab: Laboratory, key: str, split: str, search: str = "beam") -> float:
    text = translations(lab, key, split, search)
    return float(counted(text, references(lab, split)).score)


def rows_of(lab: Laboratory) -> dict[str, dict[str, str]]:
    """The table of reports/table.md, by method."""
    lines = [line for line in lab.text("reports/table.md") if line.startswith("|")]
    header, _, *body = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    return {row[0]: dict(zip(header, row, strict=True)) for row in body}


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


@pytest.mark.parametrize(("method", "keys"), [("teacher", KEYS[:1]), ("plain", PLAIN), ("seq", SEQ)])
def test_the_table_is_of_means_over_seeds(lab: Laboratory, method: str, keys: list[str]) -> None:
    row = rows_of(lab)[method]
    _, long = subsets(lab)["test_long"]
    gold = references(lab, "test")

    def shown(values: list[float]) -> str:
        if len(values) == 1:
            return f"{values[0]:.1f}"
        return f"{mean(values):.1f} ±{statistics.stdev(values):.1f}"

    assert row["BLEU"] == shown([bleu(lab, key, "test") for key in keys])
    assert row["greedy"] == shown([bleu(lab, key, "test", "greedy") for key in keys])
    of_long = []
    for key in keys:
        text = translations(lab, key, "test", "beam")
        of_long.append(counted([text[i] for i in long], [gold[i] for i in long]).score)
    assert row[f"{LONG}+ words"] == shown(of_long)
    text_scores = [scores(translations(lab, key, "test", "beam"), gold) for key in keys]
    assert row["chrF2"] == shown([one["chrf2"] for one in text_scores])
    assert row["BP"] == f"{mean([one['brevity_penalty'] for one in text_scores]):.2f}"
    sizes = [(lab.folder / TRAINED[key] / "model/model.pt").stat().st_size for key in keys]
    assert row["MB"] == f"{mean([size / 1e6 for size in sizes]):.1f}"
    climbs = []
    for key in keys:
        points = table_of(lab.folder / TRAINED[key] / "curve.csv")
        last = max(x for x, _ in points)
        late = [(x, y) for x, y in points if x >= last * 3 / 4]
        late = late if len(late) >= 2 else points[-2:]
        updates, values = zip(*late, strict=True)
        climbs.append(np.polyfit(updates, values, 1)[0] * last / 4)
    assert row["climb"] == f"{mean(climbs):+.1f}"


def table_of(path: Path) -> list[tuple[int, float]]:
    """Updates and BLEU of a learning curve."""
    with open(path, newline="", encoding="utf-8") as file:
        return [(int(row["update"]), float(row["valid_bleu"])) for row in csv.DictReader(file)]


def resampled(lab: Laboratory, search: str) -> tuple[float, Any]:
    """The gain of `seq`, and its gains on resampled test sets, by sacreBLEU on the text of each."""
    gold = references(lab, "test")
    texts = {key: translations(lab, key, "test", search) for key in PLAIN + SEQ}
    chosen = np.random.default_rng(SEED).choice(len(gold), size=(SAMPLES, len(gold)), replace=True)

    def gains(lines: Any) -> list[float]:
        found = {
            key: counted([text[i] for i in lines], [gold[i] for i in lines]).score
            for key, text in texts.items()
        }
        return [found[seq] - found[plain] for seq, plain in zip(SEQ, PLAIN, strict=True)]

    values = {key: bleu(lab, key, "test", search) for key in texts}
    spread = sum(
        (values[key] - mean([values[k] for k in keys])) ** 2 for keys in (PLAIN, SEQ) for key in keys
    )
    luck = math.sqrt(spread / 2)  # two cells of two seeds: a degree of freedom each
    measured = gains(range(len(gold)))
    error = max(luck * math.sqrt(2), statistics.stdev(measured)) / math.sqrt(2)
    shares = (np.random.default_rng([SEED, 2]).permutation(SAMPLES) + 0.5) / SAMPLES
    drawn = np.array([mean(gains(lines)) for lines in chosen]) + error * stats.t.ppf(shares, 2)
    return mean(measured), drawn


def test_gains_intervals_and_p_are_those_of_a_bootstrap_by_hand(lab: Laboratory) -> None:
    row = rows_of(lab)["seq"]
    gain, drawn = resampled(lab, "beam")
    low, high = np.quantile(drawn, [0.025, 0.975])
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
    assert row["vs plain"] == f"{gain:+.1f}"
    assert row["95% interval"] == f"[{low:+.1f}, {high:+.1f}]"
    assert row["p"] == row["p Holm"] == f"{min(1.0, 2 * (1 + tail) / (1 + SAMPLES)):.3f}"
    assert row["at lp 1"] == f"{resampled(lab, 'beam_at_1')[0]:+.1f}"


def test_the_page_shows_the_table(lab: Laboratory) -> None:
    """Each row, cell by cell, and the numbers of its first sentences."""
    page = "\n".join(lab.text("reports/index.html")).replace("\u2212", "-")
    shown = {
        name: [re.sub("<[^>]*>", "", cell) for cell in re.findall("<td[^>]*>(.*?)</td>", cells)]
        for name, cells in re.findall(r'<tr><th scope="row">(\w+)</th>(.*?)</tr>', page, re.DOTALL)
    }
    rows = rows_of(lab)
    assert rows.keys() <= shown.keys()  # other tables have rows too
    for name, row in rows.items():
        wanted = [value for column, value in row.items() if column not in ("method", "capacity")]
        assert shown[name][: len(wanted)] == wanted
    lead = lab.text("reports/table.md")[0]
    assert re.sub("<[^>]*>", "", re.findall(r'<p class="lead">(.*?)</p>', page)[0]) == lead.replace("`", "")
    gain, verdict = rows["seq"]["vs plain"], float(rows["seq"]["p Holm"]) < 0.05
    assert f"scores {rows['teacher']['BLEU']} BLEU" in lead
    assert (gain.lstrip("+-") in lead) == verdict
    assert ("no difference is shown" in lead) != verdict


def test_what_plots_show_is_of_the_validation_set(lab: Laboratory) -> None:
    metrics = json.loads("\n".join(lab.text("reports/metrics.json")))["valid"]
    assert metrics["teacher"] == round(bleu(lab, "teacher-clean", "valid"), 2)
    for method, keys in (("plain", PLAIN), ("seq", SEQ)):
        assert metrics[method]["tiny"] == round(mean([bleu(lab, key, "valid") for key in keys]), 2)
    for row in table(lab, "bleu.csv"):
        key = {"teacher": "teacher-clean", "plain": f"plain-tiny-clean-{row['seed']}"}.get(
            row["method"], f"seq-tiny-clean-beam-{row['seed']}"
        )
        assert float(row["valid_bleu"]) == pytest.approx(bleu(lab, key, "valid", row["search"]), abs=1e-4)


def test_curves_are_those_of_the_trainings(lab: Laboratory) -> None:
    rows = table(lab, "curves.csv")
    for key in KEYS:
        shown = [(int(row["update"]), float(row["valid_bleu"])) for row in rows if row["key"] == key]
        assert shown == table_of(lab.folder / TRAINED[key] / "curve.csv")
