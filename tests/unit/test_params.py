"""nmtkd.params: every problem of params.yaml at once with place, rule, value and remedy; and no value that was not asked for."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from nmtkd.params import FAMILY_SHAPES, Params, ParamsError, load, read_yaml, validate

GOOD = """
corpus: {name: toy, reader: files, source: en, target: de, tests: [test], archives: [], folder: corpus, license: CC0}
prepare: {seed: 1, valid_pairs: 2, test_pairs: 3, max_words: 60, max_ratio: 3.0, ratio_slack: 4, overlap: drop,
  long_words: 4, near_duplicate: 0.8}
bpe: {merges: 4000, min_frequency: 2}
noises:
  clean: {kind: none, rate: 0.0, side: both, seed: 1}
  del10: {kind: deletion, rate: 0.1, side: both, seed: 1}
teacher:
  architecture: {encoder_layers: 3, decoder_layers: 3, width: 128, ffn: 512, heads: 4}
  training: &recipe
    updates: 600
    max_tokens: 4096
    lr: 0.003
    warmup: 200
    adam_betas: [0.9, 0.98]
    dropout: 0.1
    label_smoothing: 0.1
    clip_norm: 1.0
    weight_decay: 0.0001
    pre_norm: true
    checkpoint_every: 100
    average: 4
    curve_pairs: 200
  seeds: [1]
decodings:
  beam: {kind: search, engine: ctranslate2, beam: 5, nbest: 5, length_penalty: 1.0, max_length_factor: 2.0, max_length_offset: 10}
score: {top_k: 16, temperature: 1.0, max_tokens: 8192}
methods:
  plain: {sequence: gold, teacher_weight: 0.0}
  word: {sequence: gold, teacher_weight: 0.5}
  seq: {sequence: hypothesis, teacher_weight: 0.0}
  both: {sequence: hypothesis, teacher_weight: 0.5}
  hybrid: {sequence: gold_and_hypothesis, teacher_weight: 0.5, gate: {kind: learned, values: []}}
  online:
    sequence: gold
    teacher_weight: 0.5
    on_policy: {share: 0.5, temperature: 1.0, from_update: 300, max_length_offset: 10}
capacities:
  tiny: {encoder_layers: 1, decoder_layers: 1, width: 48, ffn: 96, heads: 4}
training: *recipe
evaluate: {engine: ctranslate2, beam: 5, length_penalty: 1.0, max_length_factor: 2.0, max_length_offset: 10}
report: {bootstrap_samples: 1000, bootstrap_seed: 12345, confidence: 0.95}
grid:
  methods: {plain: [plain], word: [word], seq: [seq], both: [both], hybrid: [hybrid], online: [online]}
  capacities: [tiny]
  noises: [clean]
  decodings: [beam]
  seeds: [1]
"""


def changed(**values: Any) -> dict[str, Any]:
    """The good values with some replaced: a__b=1 sets raw["a"]["b"]; ... (Ellipsis) removes."""
    raw: dict[str, Any] = yaml.safe_load(GOOD)
    raw["training"] = dict(raw["training"])  # YAML's alias makes both recipes one object
    for place, value in values.items():
        *sections, last = place.split("__")
        part = raw
        for section in sections:
            part = part[section]
        if value is ...:
            del part[last]
        else:
            part[last] = value
    return raw


def problems(raw: Any) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        validate(raw, Path("p.yaml"))
    head, *lines = str(caught.value).split("\n")
    assert head == f"p.yaml: {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    assert all(line.startswith("  ") for line in lines)
    return [line[2:] for line in lines]


def saved(folder: Path, text: str = GOOD) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


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


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    text = GOOD
    for old, new in [
        ("    warmup: 200", "    warmup: 200\n    warm_up: 3"),  # unknown key; twice, for both recipes
        ("lr: 0.003", "lr: 5e-4"),
        ("merges: 4000", 'merges: "4000"'),
        ("target: de", "target: no"),
        ("tests: [test]", "tests: test"),
        ("rate: 0.1,", "rate: 1.5,"),
        ("kind: deletion", "kind: delete"),
        ("  tiny: {encoder_layers: 1,", "  tiny: {encoder_layers: 0,"),
        ("  capacities: [tiny]", "  capacities: [tiny, huge, tiny]"),
        ("[beam]\n  seeds: [1]", "[beam]\n  seeds: [1, 2, 1]"),
        ("report: {bootstrap_samples: 1000,", "report: {"),
        ("word: [word]", "word: [wort]"),
    ]:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = saved(tmp_path, text)
    with pytest.raises(ParamsError) as caught:
        load("corpus", path=path)
    head, *lines = str(caught.value).split("\n")
    known = "adam_betas, average, checkpoint_every, clip_norm, consistency, curve_pairs, dropout, label_smoothing, lr, max_tokens, "
    known += "pre_norm, updates, warmup, weight_decay"
    no_number = "input should be a valid number; got '5e-4'; YAML 1.1 reads this as text: write it with a decimal point and without an "
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
            "corpus.target: input should be a valid string; got False; YAML reads a bare no, yes, on or off as a truth value: quote it",
            "corpus.tests: input should be a valid list; got 'test'",
            "noises.del10.rate: input should be less than or equal to 1; got 1.5",
            "noises.del10.kind: input should be 'none', 'deletion', 'substitution', 'swap' or 'mixed'; got 'delete'",
            "capacities.tiny.encoder_layers: input should be greater than or equal to 1; got 0",
            "grid.capacities: 'huge' names nothing under `capacities:` (known: tiny); add it there or correct it",
            "grid.capacities: 'tiny' stands twice; remove one",
            "grid.seeds: a seed stands twice; got [1, 2, 1]; remove one",
            "report.bootstrap_samples: missing; add it",
            "grid.methods.word: 'wort' names nothing under `methods:` (known: both, hybrid, online, plain, seq, word); add it there or "
            "correct it",
        ]
    )


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (
            changed(trainig={}),
            "trainig: unknown key; remove it or correct its spelling (known: bpe, capacities, corpus, decodings, evaluate, ",
        ),
        (
            changed(capacities__tiny__depth=1),
            "capacities.tiny.depth: unknown key; remove it or correct its spelling (known: decoder_layers, encoder_",
        ),
        (changed(corpus=...), "corpus: missing; add it"),
        (changed(training__lr=True), "training.lr: input should be a valid number; got True"),
        (changed(training__pre_norm=1), "training.pre_norm: input should be a valid boolean; got 1"),
        (changed(training__updates=600.0), "training.updates: input should be a valid integer; got 600.0"),
        (changed(training__updates=None), "training.updates: input should be a valid integer; got None"),
        (changed(training__dropout="-0.1"), "training.dropout: input should be a valid number; got '-0.1'; remove the quotes"),
        (changed(training__adam_betas=[0.9]), "training.adam_betas: list should have at least 2 items after validation, not 1; got [0.9]"),
        (changed(prepare__seed=2**31), "prepare.seed: input should be less than or equal to 2147483647; got 2147483648"),
        (changed(prepare__max_ratio=1.0), "prepare.max_ratio: input should be greater than 1; got 1.0"),
        (changed(noises__clean="none"), "noises.clean: input should be a valid dictionary or instance of Noise; got 'none'"),
        (None, "(top level): input should be a valid dictionary or instance of Params; got None"),
    ],
)
def test_a_problem_of_one_value(raw: Any, line: str) -> None:
    found = problems(raw)
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize("name", ["del-10", "del.10", "Del10", "10del", ""])
def test_names_are_words_that_dvc_can_join(name: str) -> None:
    noise = {"kind": "deletion", "rate": 0.1, "side": "both", "seed": 1}
    (line,) = problems(changed(noises={"clean": {**noise, "kind": "none", "rate": 0.0}, name: noise}))
    assert line == f"noises.{name}: string should match pattern '^[a-z][a-z0-9_]*$'; got {name!r}"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["training__lr", "training__clip_norm", "decodings__beam__length_penalty", "evaluate__max_length_factor"])
def test_numbers_are_finite(place: str, value: float) -> None:
    (line,) = problems(changed(**{place: value}))
    assert line.startswith(place.replace("__", "."))


RATE = "kind none goes with rate 0.0, and only with it; a single kind needs a rate above 0.0, mixed has rates"
RATES = "kind mixed goes with rates {deletion, substitution, swap}, and only it does"
SAMPLING = "kind sample goes with sampling {temperature, top_p, seed}, and only it does"
BETA = "divergence jensen_shannon goes with beta, and only it does"
GATE = "sequence gold_and_hypothesis goes with a gate, and only it does"
WEIGHT = "divergence, hardest, ranking and on_policy shape the teacher's term: they need teacher_weight above 0.0"
VALUES = "values: none for learned, one for fixed, several different ones for validated"
CUTOFF = "kind simcut goes with cutoff, and only it does"
NO_DECODING = "grid.decodings: empty, while methods that learn from hypotheses are asked for; name at least one"
NO_METHODS: dict[str, list[str]] = {family: [] for family in FAMILY_SHAPES}
DRAWS = {"temperature": 1.0, "top_p": 0.95, "seed": 1}
GATES = {"budget": 0.5, "weight": 10.0, "polarity": 1.0, "closing": 10, "opening": 1.0}


def mixed(**changes: Any) -> dict[str, Any]:
    """A good mixture of noises with some values replaced; ... removes."""
    values = {"kind": "mixed", "rates": {"deletion": 0.1, "substitution": 0.0, "swap": 0.2}, "side": "both", "seed": 1}
    return {name: value for name, value in (values | changes).items() if value is not ...}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"noises__del10__rate": 0.0}, f"noises.del10: {RATE}"),
        ({"noises__clean__rate": 0.1}, f"noises.clean: {RATE}"),
        ({"noises__mix": mixed(rate=0.1)}, f"noises.mix: {RATE}"),
        ({"noises__mix": mixed(rates=...)}, f"noises.mix: {RATES}"),
        ({"noises__mix": mixed(kind="deletion", rate=0.1)}, f"noises.mix: {RATES}"),
        ({"noises__mix": mixed(kind="none")}, f"noises.mix: {RATES}"),
        ({"noises__mix": mixed(rates={"deletion": 0.1, "swap": 0.1})}, "noises.mix.rates.substitution: missing; add it"),
        ({"noises__mix": mixed(teacher_sees="noise")}, "noises.mix.teacher_sees: input should be 'same' or 'clean'; got 'noise'"),
        (
            {"noises__clean__teacher_sees": "clean"},
            "noises.clean: without noise there is nothing that the teacher could not see; remove teacher_sees",
        ),
        ({"decodings__beam__nbest": 6}, "decodings.beam: nbest (6) cannot exceed beam (5)"),
        ({"decodings__beam__kind": "sample"}, f"decodings.beam: {SAMPLING}"),
        ({"decodings__beam__sampling": DRAWS}, f"decodings.beam: {SAMPLING}"),
        ({"decodings__beam__kind": "forced", "decodings__beam__sampling": DRAWS}, f"decodings.beam: {SAMPLING}"),
        (
            {"decodings__beam__kind": "sample", "decodings__beam__sampling": DRAWS},
            "decodings.beam: kind sample needs engine fairseq: the draws of CTranslate2's workers cannot be repeated",
        ),
        ({"methods__word__beta": 0.5}, f"methods.word: {BETA}"),
        ({"methods__word__divergence": "jensen_shannon"}, f"methods.word: {BETA}"),
        ({"methods__word__divergence": "reverse_kl", "methods__word__beta": 0.5}, f"methods.word: {BETA}"),
        ({"methods__hybrid__gate": ...}, f"methods.hybrid: {GATE}"),
        ({"methods__word__gate": {"kind": "learned", "values": []}}, f"methods.word: {GATE}"),
        ({"methods__plain__divergence": "reverse_kl"}, f"methods.plain: {WEIGHT}"),
        ({"methods__plain__hardest": 1.0}, f"methods.plain: {WEIGHT}"),
        ({"methods__seq__ranking": {"weight": 1.0, "tokens": 5}}, f"methods.seq: {WEIGHT}"),
        ({"methods__online__teacher_weight": 0.0}, f"methods.online: {WEIGHT}"),
        ({"methods__online__sequence": "hypothesis"}, "methods.online: on_policy goes with sequence gold; got hypothesis"),
        ({"methods__hybrid__hardest": 0.5}, "methods.hybrid: hardest picks tokens of a batch, a gate weighs sentences: choose one"),
        *(
            ({"methods__hybrid__gate": {"kind": kind, "values": values}}, f"methods.hybrid.gate: {VALUES}; got {values}")
            for kind, values in (
                ("learned", [0.5]),
                ("fixed", []),
                ("fixed", [0.25, 0.5]),
                ("validated", []),
                ("validated", [0.5]),
                ("validated", [0.5, 0.5]),
            )
        ),
        ({"teacher__seeds": [1, 2, 1]}, "teacher.seeds: a seed stands twice; got [1, 2, 1]; remove one"),
        ({"teacher__seeds": []}, "teacher.seeds: list should have at least 1 item after validation, not 0; got []"),
        (
            {"teacher__architecture__gates": GATES},
            "teacher.architecture.gates: gates adapt a student's capacity; remove them here",
        ),
        (
            {"capacities__tiny__gates": {**GATES, "closing": 600}},
            "capacities.tiny.gates.closing: must be 300 or less, the first checkpoint that is averaged; got 600; lower it",
        ),
        ({"teacher__training__consistency": {"kind": "simcut", "weight": 1.0}}, f"teacher.training.consistency: {CUTOFF}"),
        (
            {"teacher__training__consistency": {"kind": "rdrop", "weight": 1.0, "cutoff": 0.1}},
            f"teacher.training.consistency: {CUTOFF}",
        ),
        ({"capacities__tiny__heads": 5}, "capacities.tiny: width (48) must be a multiple of heads (5)"),
        ({"training__checkpoint_every": 250}, "training: updates (600) must be a multiple of checkpoint_every (250)"),
        ({"training__average": 7}, "training: cannot average 7 checkpoints: 600 updates write fewer"),
        (
            {"decodings__gold": changed()["decodings"]["beam"]},
            "decodings.gold: this name stands for the gold prefix of word-level targets; choose another",
        ),
        (
            {"decodings__student": changed()["decodings"]["beam"]},
            "decodings.student: this name stands for prefixes that a student samples; choose another",
        ),
        ({"decodings__none": changed()["decodings"]["beam"]}, "decodings.none: this name stands for no decoding; choose another"),
        ({"corpus__target": "en"}, "corpus.target: must differ from corpus.source; got 'en' for both"),
        ({"corpus__tests": []}, "corpus.tests: empty; name at least one test set"),
        ({"grid__noises": []}, "grid.noises: empty, so that there is nothing to run; name at least one"),
        ({"grid__capacities": []}, "grid.capacities: empty, so that there is nothing to run; name at least one"),
        ({"grid__seeds": []}, "grid.seeds: empty, so that there is nothing to run; name at least one"),
        ({"grid__decodings": []}, NO_DECODING),
        *(
            ({"grid__decodings": [], "grid__methods": {**NO_METHODS, family: [family]}}, NO_DECODING)
            for family in ("seq", "both", "hybrid")
        ),
        ({"grid__methods__plain": ["plain", "plain"]}, "grid.methods.plain: 'plain' stands twice; remove one"),
        ({"grid__noises": ["clean", "clean"]}, "grid.noises: 'clean' stands twice; remove one"),
        (
            {"grid__decodings": ["bream"]},
            "grid.decodings: 'bream' names nothing under `decodings:` (known: beam); add it there or correct it",
        ),
    ],
)
def test_rules_between_values(changes: dict[str, Any], line: str) -> None:
    assert problems(changed(**changes)) == [line]


@pytest.mark.parametrize(
    "changes",
    [
        {"noises__mix": mixed(teacher_sees="clean")},
        {"noises__del10__teacher_sees": "clean"},
        {"decodings__beam__kind": "sample", "decodings__beam__engine": "fairseq", "decodings__beam__sampling": DRAWS},
        {"methods__word__divergence": "jensen_shannon", "methods__word__beta": 0.1},
        {"methods__word__divergence": "total_variation", "methods__word__hardest": 0.5},
        {"methods__both__ranking": {"weight": 0.5, "tokens": 3}},
        {"methods__seq__sequence": "closest"},
        {"methods__hybrid__gate": {"kind": "fixed", "values": [0.0]}, "methods__hybrid__divergence": "reverse_kl"},
        {"methods__hybrid__gate": {"kind": "validated", "values": [0.0, 0.5, 1.0]}},
        {"methods__online__on_policy__share": 0.0, "methods__online__hardest": 0.25},
        {"teacher__seeds": [3, 1, 2]},
        {"teacher__training__consistency": {"kind": "rdrop", "weight": 5.0}},
        {"teacher__training__consistency": {"kind": "simcut", "weight": 3.0, "cutoff": 0.05}},
        {"capacities__tiny__gates": GATES},
    ],
)
def test_what_goes_together(changes: dict[str, Any]) -> None:
    validate(changed(**changes))


@pytest.mark.parametrize(
    ("place", "values", "known"),
    [
        ("methods.word.ranking", {"weight": 1.0, "tokens": 5}, "tokens, weight"),
        ("methods.hybrid.gate", {"kind": "learned", "values": []}, "kind, values"),
        ("methods.online.on_policy", changed()["methods"]["online"]["on_policy"], "from_update, max_length_offset, share, temperature"),
        ("capacities.tiny.gates", GATES, "budget, closing, opening, polarity, weight"),
    ],
)
def test_an_unknown_key_of_an_option_is_shown_its_siblings(place: str, values: dict[str, Any], known: str) -> None:
    raw = changed(**{place.replace(".", "__"): {**values, "depht": 1}})
    assert problems(raw) == [f"{place}.depht: unknown key; remove it or correct its spelling (known: {known})"]


def test_consistency_is_a_teachers() -> None:
    """No student's loss has it: said there, it would change nothing and look as if it did."""
    (line,) = problems(changed(training__consistency={"kind": "rdrop", "weight": 1.0}))
    assert line.startswith("training.consistency: ")


def test_all_checkpoints_may_be_averaged() -> None:
    assert validate(changed(training__average=6)).training.average == 6


def test_decodings_may_be_empty_where_nothing_learns_from_them() -> None:
    families = {**NO_METHODS, "plain": ["plain"], "word": ["word"], "online": ["online"]}
    assert validate(changed(grid__decodings=[], grid__methods=families)).grid.decodings == []


@pytest.mark.parametrize("family", FAMILY_SHAPES)
@pytest.mark.parametrize("method", FAMILY_SHAPES)
def test_a_method_stands_in_its_own_family(family: str, method: str) -> None:
    raw = changed(grid__methods={**NO_METHODS, family: [method]})
    if family == method:
        validate(raw)
        return
    (line,) = problems(raw)
    assert re.fullmatch(rf"grid\.methods\.{family}: '{method}' .* needs sequence: .*; got .*; move it to its own family", line)


def test_a_family_says_what_it_reads() -> None:
    (line,) = problems(changed(grid__methods__word=["seq"]))
    assert "needs sequence: gold and teacher_weight above 0.0; got hypothesis and 0.0; move it to its own family" in line
    (line,) = problems(changed(grid__methods__seq=["both"]))
    assert "needs sequence: hypothesis or closest and teacher_weight 0.0; got hypothesis and 0.5; move it to its own family" in line
    (line,) = problems(changed(grid__methods__word=["online"]))
    assert "needs sequence: gold and teacher_weight above 0.0; got gold and 0.5 and on_policy; move it to its own family" in line
    (line,) = problems(changed(grid__methods__online=["word"]))
    assert "needs sequence: gold and teacher_weight above 0.0 and on_policy; got gold and 0.5; move it to its own family" in line
    (line,) = problems(changed(grid__methods__both=["closer"], methods__closer={"sequence": "closest", "teacher_weight": 0.5}))
    assert "needs sequence: hypothesis and teacher_weight above 0.0; got closest and 0.5; move it to its own family" in line


def test_rules_between_sections_are_listed_together() -> None:
    assert len(problems(changed(grid__seeds=[], corpus__target="en", grid__methods__word=["plain"]))) == 3


@pytest.mark.parametrize("value", [["tiny"], {"tiny": 1}, None, 3])
def test_a_grid_value_that_is_no_name_is_a_problem_like_others(value: Any) -> None:
    lines = problems(changed(grid__capacities=["tiny", value], bpe__merges=0))
    assert any(line.startswith("bpe.merges: ") for line in lines)
    assert any(line.startswith("grid.capacities.1: input should be a valid string") for line in lines)


def test_a_bare_no_in_the_grid_is_explained() -> None:
    assert problems(changed(grid__noises=["clean", False])) == [
        "grid.noises.1: input should be a valid string; got False; YAML reads a bare no, yes, on or off as a truth value: quote it",
        "grid.noises: False names nothing under `noises:` (known: clean, del10); add it there or correct it",
    ]


# load


def test_load_returns_the_named_sections_alone(tmp_path: Path) -> None:
    params = load("bpe", "methods.word", path=saved(tmp_path))
    assert isinstance(params, Params)
    assert params.bpe.merges == 4000
    assert list(params.methods) == ["word"]
    with pytest.raises(AttributeError, match=r"params\.training was not asked for: name it in load\(\) and under `params:` in dvc\.yaml"):
        _ = params.training


def test_load_returns_one_value_of_a_section(tmp_path: Path) -> None:
    prepare = load("prepare.long_words", path=saved(tmp_path)).prepare
    assert prepare.long_words == 4
    with pytest.raises(AttributeError, match="seed"):
        _ = prepare.seed


def test_load_returns_several_values_of_a_section(tmp_path: Path) -> None:
    params = load("prepare.long_words", "noises.clean", "prepare.seed", "noises.del10", path=saved(tmp_path))
    assert (params.prepare.long_words, params.prepare.seed) == (4, 1)
    assert sorted(params.noises) == ["clean", "del10"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("noises.del20", r"noises\.del20: no such entry \(known: clean, del10\); add it under `noises:` or correct the name"),
        (
            "prepare.seeds",
            r"prepare\.seeds: no such entry \(known: long_words, max_ratio, .*\); add it under `prepare:` or correct the name",
        ),
    ],
)
def test_load_lists_what_it_knows(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        load(name, path=saved(tmp_path))


def test_load_checks_sections_that_were_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"score\.top_k"):
        load("bpe", path=saved(tmp_path, GOOD.replace("top_k: 16", "top_k: 0")))


def test_a_file_that_is_missing_or_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"nowhere\.yaml: not found; run from the repository's root"):
        read_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(ParamsError, match=r"params\.yaml: not readable as YAML: "):
        read_yaml(saved(tmp_path, "a: [1"))
    (tmp_path / "params.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ParamsError, match=r"params\.yaml: not readable as YAML: "):
        read_yaml(tmp_path / "params.yaml")
    with pytest.raises(ParamsError, match=r"\(top level\): input should be a valid dictionary"):
        load("bpe", path=saved(tmp_path, ""))
