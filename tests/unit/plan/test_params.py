"""nmtkd.plan.params: every problem at once with place, rule, value and remedy; no value that was not asked
for."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from nmtkd.plan.params import Params, ParamsError, load, read_yaml, validate
from tests.unit.plan.good import GATES, GOOD, changed, problems, saved


def test_good_values_are_read_with_their_types() -> None:
    params = validate(yaml.safe_load(GOOD))
    assert params.teacher.training.lr == 0.003
    assert params.noises["del10"].rate == 0.1
    assert params.grid.methods.both == ["both"]
    assert type(params.bpe.merges) is int


def test_values_never_change() -> None:
    params = validate(yaml.safe_load(GOOD))
    with pytest.raises(ValidationError, match="frozen"):
        params.training.lr = 1.0


def test_a_name_that_names_nothing_is_told_where_all_else_is_right(tmp_path: Path) -> None:
    text = GOOD.replace("  capacities: [tiny]", "  capacities: [tiny, huge]").replace(
        "word: [word]", "word: [wort]"
    )
    with pytest.raises(ParamsError) as caught:
        load("corpus", path=saved(tmp_path, text))
    assert [line.split(" (")[0] for line in str(caught.value).split("\n")[1:]] == [
        "  grid.capacities: 'huge' names nothing under `capacities:`",
        "  grid.methods.word: 'wort' names nothing under `methods:`",
    ]


def test_problems_are_listed_all_at_once(tmp_path: Path) -> None:
    text = GOOD
    for old, new in [
        ("    warmup: 200", "    warmup: 200\n    warm_up: 3"),  # unknown key; twice, for both recipes
        ("lr: 0.003", "lr: 5e-4"),
        ("merges: 4000", 'merges: "4000"'),
        ("target: de", "target: no"),
        ("tests: [test]", "tests: test"),
        ("rate: 0.1,", "rate: 1.5,"),
        ("overlap: drop", "overlap: dorp"),
        ("  tiny: {encoder_layers: 1,", "  tiny: {encoder_layers: 0,"),
        ("  capacities: [tiny]", "  capacities: [tiny, huge, tiny]"),
        ("[beam]\n  seeds: [1]", "[beam]\n  seeds: [1, 2, 1]"),
        ("study: default, bootstrap_samples: 1000,", "study: default,"),
        ("word: [word]", "word: [wort]"),
    ]:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = saved(tmp_path, text)
    with pytest.raises(ParamsError) as caught:
        load("corpus", path=path)
    head, *lines = str(caught.value).split("\n")
    known = (
        "accumulate, adam_betas, average, checkpoint_every, clip_norm, consistency, curve_pairs, dropout, "
        "init, label_smoothing, lr, max_tokens, "
    )
    known += "pre_norm, precision, updates, warmup, weight_decay"
    no_number = (
        "input should be a valid number; got '5e-4'; YAML 1.1 reads this as text: write it "
        "with a decimal point and without an "
    )
    no_number += "exponent, as in 0.0005"
    assert head == f"{path}: {len(lines)} problems"
    assert sorted(lines) == sorted(
        f"  {line}"
        for line in [
            f"teacher.training.warm_up: unknown key; remove it or correct its spelling (known: {known})",
            f"training.warm_up: unknown key; remove it or correct its spelling (known: {known})",
            f"teacher.training.lr: {no_number}",
            f"training.lr: {no_number}",
            "bpe.merges: input should be a valid integer; got '4000'; remove the quotes",
            "corpus.target: input should be a valid string; got False; YAML reads a bare no, yes, on "
            "or off as a truth value: quote it",
            "corpus.tests: input should be a valid list; got 'test'",
            "noises.del10.rate: input should be less than or equal to 1; got 1.5",
            "prepare.overlap: input should be 'drop', 'error' or 'keep'; got 'dorp'",
            "capacities.tiny.encoder_layers: input should be greater than or equal to 1; got 0",
            "grid.capacities: 'huge' names nothing under `capacities:` (known: tiny); add it there or "
            "correct it",
            "grid.capacities: 'tiny' stands twice; remove one",
            "grid.seeds: a seed stands twice; got [1, 2, 1]; remove one",
            "report.bootstrap_samples: missing; add it",
            "grid.methods.word: 'wort' names nothing under `methods:` (known: both, hybrid, online, "
            "plain, seq, word); add it there or "
            "correct it",
        ]
    )


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (
            changed(trainig={}),
            "trainig: unknown key; remove it or correct its spelling (known: architecture, bpe, "
            "capacities, corpus, decodings, evaluate, ",
        ),
        (
            changed(capacities__tiny__depth=1),
            "capacities.tiny.depth: unknown key; remove it or correct its spelling (known: "
            "decoder_layers, encoder_",
        ),
        (changed(corpus=...), "corpus: missing; add it"),
        (changed(training__lr=True), "training.lr: input should be a valid number; got True"),
        (changed(training__pre_norm=1), "training.pre_norm: input should be a valid boolean; got 1"),
        (changed(training__updates=600.0), "training.updates: input should be a valid integer; got 600.0"),
        (changed(training__updates=None), "training.updates: input should be a valid integer; got None"),
        (
            changed(training__dropout="-0.1"),
            "training.dropout: input should be a valid number; got '-0.1'; remove the quotes",
        ),
        (
            changed(training__adam_betas=[0.9]),
            "training.adam_betas: list should have at least 2 items after validation, not 1; got [0.9]",
        ),
        (
            changed(prepare__seed=2**31),
            "prepare.seed: input should be less than or equal to 2147483647; got 2147483648",
        ),
        (changed(prepare__max_ratio=1.0), "prepare.max_ratio: input should be greater than 1; got 1.0"),
        (
            changed(noises__clean="none"),
            "noises.clean: input should be a valid dictionary or instance of Noise; got 'none'",
        ),
        (None, "(top level): input should be a valid dictionary or instance of Params; got None"),
    ],
)
def test_problem_of_one_value(raw: Any, line: str) -> None:
    found = problems(raw)
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize("name", ["del-10", "del.10", "Del10", "10del", ""])
def test_names_are_words_that_dvc_can_join(name: str) -> None:
    noise = {"kind": "deletion", "rate": 0.1, "side": "both", "seed": 1}
    (line,) = problems(changed(noises={"clean": {"kind": "none", "side": "both", "seed": 1}, name: noise}))
    assert line == f"noises.{name}: string should match pattern '^[a-z][a-z0-9_]*$'; got {name!r}"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "place",
    [
        "training__lr",
        "training__clip_norm",
        "decodings__beam__max_length_factor",
        "evaluate__max_length_factor",
    ],
)
def test_numbers_are_finite(place: str, value: float) -> None:
    (line,) = problems(changed(**{place: value}))
    assert line.startswith(place.replace("__", "."))


@pytest.mark.parametrize(
    ("place", "values", "known"),
    [
        ("methods.word.ranking", {"weight": 1.0, "tokens": 5}, "tokens, weight"),
        ("methods.hybrid.gate", {"kind": "learned", "values": []}, "kind, values"),
        (
            "methods.online.on_policy",
            changed()["methods"]["online"]["on_policy"],
            "from_update, max_length_offset, share, temperature",
        ),
        ("capacities.tiny.gates", GATES, "budget, closing, opening, polarity, weight"),
    ],
)
def test_unknown_key_of_an_option_is_shown_its_siblings(
    place: str, values: dict[str, Any], known: str
) -> None:
    raw = changed(**{place.replace(".", "__"): {**values, "depht": 1}})
    assert problems(raw) == [
        f"{place}.depht: unknown key; remove it or correct its spelling (known: {known})"
    ]


def test_load_returns_the_named_sections_alone(tmp_path: Path) -> None:
    params = load("bpe", "methods.word", path=saved(tmp_path))
    assert isinstance(params, Params)
    assert params.bpe.merges == 4000
    assert list(params.methods) == ["word"]
    with pytest.raises(
        AttributeError,
        match=r"params\.training was not asked for: name it in load\(\) and under `params:` in dvc\.yaml",
    ):
        _ = params.training


def test_load_returns_one_value_of_a_section(tmp_path: Path) -> None:
    prepare = load("prepare.max_ratio", path=saved(tmp_path)).prepare
    assert prepare.max_ratio == 3.0
    with pytest.raises(AttributeError, match="seed"):
        _ = prepare.seed


def test_load_returns_several_values_of_a_section(tmp_path: Path) -> None:
    params = load("prepare.max_ratio", "noises.clean", "prepare.seed", "noises.del10", path=saved(tmp_path))
    assert (params.prepare.max_ratio, params.prepare.seed) == (3.0, 1)
    assert sorted(params.noises) == ["clean", "del10"]


def test_load_returns_a_value_inside_a_value(tmp_path: Path) -> None:
    params = load("teacher.training.max_tokens", "bpe", "teacher.seeds", path=saved(tmp_path))
    assert (params.teacher.training.max_tokens, params.teacher.seeds, params.bpe.merges) == (4096, [1], 4000)
    for section, name in ((params.teacher, "architecture"), (params.teacher.training, "updates")):
        with pytest.raises(AttributeError, match=name):
            getattr(section, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "noises.del20",
            r"noises\.del20: no such entry \(known: clean, del10\); add it there or correct the name",
        ),
        (
            "prepare.seeds",
            r"prepare\.seeds: no such entry \(known: duplicates, expected, .*\); add it there or "
            r"correct the name",
        ),
    ],
)
def test_load_lists_what_it_knows(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        load(name, path=saved(tmp_path))


def test_load_checks_sections_that_were_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"targets\.top_k"):
        load("bpe", path=saved(tmp_path, GOOD.replace("top_k: 16", "top_k: 0")))


def test_file_that_is_missing_or_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"nowhere\.yaml: not found; run from the repository's root"):
        read_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(ParamsError, match=r"params\.yaml: not readable as YAML: "):
        read_yaml(saved(tmp_path, "a: [1"))
    (tmp_path / "params.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ParamsError, match=r"params\.yaml: not readable as YAML: "):
        read_yaml(tmp_path / "params.yaml")
    with pytest.raises(ParamsError, match=r"\(top level\): input should be a valid dictionary"):
        load("bpe", path=saved(tmp_path, ""))
