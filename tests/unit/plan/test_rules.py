"""nmtkd.plan.rules and the sections' own: what goes together in params.yaml."""

import re
from typing import Any

import pytest

from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.params import validate
from tests.unit.plan.good import DRAWS, GATES, NO_METHODS, changed, mixed, problems

RATE = "a single kind needs a rate above 0.0; none has no rate, mixed has rates"
RATES = "kind mixed goes with rates {deletion, substitution, swap}, and only it does"
INT8 = (
    "compute int8 goes with kind search and engine ctranslate2: fairseq computes in float32 alone; set "
    "compute to float32"
)
SAMPLING = "kind sample goes with sampling {temperature, top_p, seed}, and only it does"
BETA = "divergence jensen_shannon goes with beta, and only it does"
GATE = "sequence gold_and_hypothesis goes with a gate, and only it does"
DIVERGENCE = "teacher_weight above 0.0 goes with a divergence, and only it does"
WEIGHT = "hardest, ranking and on_policy shape the teacher's term: they need teacher_weight above 0.0"
VALUES = "values: none for learned, one for fixed, several different ones for validated"
CUTOFF = "kind simcut goes with cutoff, and only it does"
NO_DECODING = (
    "grid.decodings: empty, while methods that learn from hypotheses are asked for; name at least one"
)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"noises__del10__rate": 0.0}, f"noises.del10: {RATE}"),
        ({"noises__clean__rate": 0.1}, f"noises.clean: {RATE}"),
        ({"noises__mix": mixed(rate=0.1)}, f"noises.mix: {RATE}"),
        ({"noises__mix": mixed(rates=...)}, f"noises.mix: {RATES}"),
        ({"noises__mix": mixed(kind="deletion", rate=0.1)}, f"noises.mix: {RATES}"),
        ({"noises__mix": mixed(kind="none")}, f"noises.mix: {RATES}"),
        (
            {"noises__mix": mixed(rates={"deletion": 0.1, "swap": 0.1})},
            "noises.mix.rates.substitution: missing; add it",
        ),
        (
            {"noises__mix": mixed(teacher_sees="noise")},
            "noises.mix.teacher_sees: input should be 'clean'; got 'noise'",
        ),
        (
            {"noises__clean__teacher_sees": "clean"},
            "noises.clean: without noise there is nothing that the teacher could not see; remove "
            "teacher_sees",
        ),
        ({"decodings__beam__nbest": 6}, "decodings.beam: nbest (6) cannot exceed beam (5)"),
        ({"decodings__beam__kind": "sample"}, f"decodings.beam: {SAMPLING}"),
        (
            {"evaluate__beam": 1},
            "evaluate: only a beam has a choice of length_penalties; name one",
        ),
        (
            {"evaluate__length_penalties": [1.0, 0.6, 1.0]},
            "evaluate: length_penalties: one stands twice; got [1.0, 0.6, 1.0]; remove it",
        ),
        (
            {"decodings__beam__beam": 1, "decodings__beam__nbest": 1},
            "decodings.beam: only a beam has a choice of length_penalties; name one",
        ),
        ({"decodings__beam__sampling": DRAWS}, f"decodings.beam: {SAMPLING}"),
        (
            {"decodings__beam__kind": "forced", "decodings__beam__sampling": DRAWS},
            f"decodings.beam: {SAMPLING}",
        ),
        (
            {"decodings__beam__kind": "sample", "decodings__beam__sampling": DRAWS},
            "decodings.beam: kind sample needs engine fairseq: the draws of CTranslate2's workers "
            "cannot be repeated",
        ),
        (
            {"decodings__beam__compute": "int8", "decodings__beam__engine": "fairseq"},
            f"decodings.beam: {INT8}",
        ),
        (
            {
                "decodings__beam__compute": "int8",
                "decodings__beam__kind": "forced",
                "decodings__beam__length_penalties": [1.0],
            },
            f"decodings.beam: {INT8}",
        ),
        (
            {
                "decodings__beam__compute": "int8",
                "decodings__beam__kind": "sample",
                "decodings__beam__engine": "fairseq",
                "decodings__beam__length_penalties": [1.0],
                "decodings__beam__sampling": DRAWS,
            },
            f"decodings.beam: {INT8}",
        ),
        (
            {"evaluate__compute": "int8", "evaluate__engine": "fairseq"},
            "evaluate: compute int8 goes with engine ctranslate2: fairseq computes in float32 alone; set "
            "compute to float32",
        ),
        (
            {"decodings__beam__compute": "bfloat16"},
            "decodings.beam.compute: input should be 'float32' or 'int8'; got 'bfloat16'",
        ),
        ({"evaluate__compute": ...}, "evaluate.compute: missing; add it"),
        (
            {"decodings__beam__compute": "int8", "teacher__seeds": [1, 2]},
            "decodings.beam.compute: must be float32 where the teacher is an ensemble, with which fairseq "
            "translates; got int8 and teacher.seeds [1, 2]; set it to float32, or name one seed",
        ),
        (
            {"evaluate__compute": "int8", "teacher__seeds": [3, 1, 2]},
            "evaluate.compute: must be float32 where the teacher is an ensemble, with which fairseq "
            "translates; got int8 and teacher.seeds [3, 1, 2]; set it to float32, or name one seed",
        ),
        ({"methods__word__beta": 0.5}, f"methods.word: {BETA}"),
        ({"methods__word__divergence": "jensen_shannon"}, f"methods.word: {BETA}"),
        ({"methods__word__divergence": "reverse_kl", "methods__word__beta": 0.5}, f"methods.word: {BETA}"),
        ({"methods__hybrid__gate": ...}, f"methods.hybrid: {GATE}"),
        ({"methods__word__gate": {"kind": "learned", "values": []}}, f"methods.word: {GATE}"),
        ({"methods__plain__divergence": "reverse_kl"}, f"methods.plain: {DIVERGENCE}"),
        ({"methods__word__divergence": ...}, f"methods.word: {DIVERGENCE}"),
        ({"methods__online__teacher_weight": 0.0}, f"methods.online: {DIVERGENCE}"),
        ({"methods__plain__hardest": 1.0}, f"methods.plain: {WEIGHT}"),
        ({"methods__seq__ranking": {"weight": 1.0, "tokens": 5}}, f"methods.seq: {WEIGHT}"),
        (
            {"methods__online__teacher_weight": 0.0, "methods__online__divergence": ...},
            f"methods.online: {WEIGHT}",
        ),
        (
            {"methods__online__sequence": "hypothesis"},
            "methods.online: on_policy goes with sequence gold; got hypothesis",
        ),
        (
            {"methods__hybrid__hardest": 0.5},
            "methods.hybrid: hardest picks tokens of a batch, a gate weighs sentences: choose one",
        ),
        *(
            (
                {"methods__hybrid__gate": {"kind": kind, "values": values}},
                f"methods.hybrid.gate: {VALUES}; got {values}",
            )
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
        (
            {"teacher__seeds": []},
            "teacher.seeds: list should have at least 1 item after validation, not 0; got []",
        ),
        (
            {"teacher__architecture__gates": GATES},
            "teacher.architecture.gates: gates adapt a student's capacity; remove them here",
        ),
        (
            {"capacities__tiny__gates": {**GATES, "closing": 600}},
            "capacities.tiny.gates.closing: must be 300 or less, the first checkpoint that is "
            "averaged; got 600; lower it",
        ),
        (
            {"teacher__training__consistency": {"kind": "simcut", "weight": 1.0}},
            f"teacher.training.consistency: {CUTOFF}",
        ),
        (
            {"teacher__training__consistency": {"kind": "rdrop", "weight": 1.0, "cutoff": 0.1}},
            f"teacher.training.consistency: {CUTOFF}",
        ),
        ({"capacities__tiny__heads": 5}, "capacities.tiny: width (48) must be a multiple of heads (5)"),
        (
            {"training__checkpoint_every": 250},
            "training: updates (600) must be a multiple of checkpoint_every (250)",
        ),
        ({"training__average": 7}, "training: cannot average 7 checkpoints: 600 updates write fewer"),
        (
            {"decodings__gold": changed()["decodings"]["beam"]},
            "decodings.gold: this name stands for the gold prefix of word-level targets; choose another",
        ),
        (
            {"decodings__student": changed()["decodings"]["beam"]},
            "decodings.student: this name stands for prefixes that a student samples; choose another",
        ),
        (
            {"decodings__none": changed()["decodings"]["beam"]},
            "decodings.none: this name stands for no decoding; choose another",
        ),
        ({"corpus__target": "en"}, "corpus.target: must differ from corpus.source; got 'en' for both"),
        (
            {"corpus__folder": "~/mine"},
            "corpus.folder: '~/mine': nobody expands ~ here; write the home folder out",
        ),
        ({"corpus__tests": []}, "corpus.tests: empty; name at least one test set"),
        ({"grid__noises": []}, "grid.noises: empty, so that there is nothing to run; name at least one"),
        (
            {"grid__capacities": []},
            "grid.capacities: empty, so that there is nothing to run; name at least one",
        ),
        (
            {f"grid__methods__{family}": [] for family in FAMILIES},
            "grid.methods: no family has a method, so that there is no student; name at least one",
        ),
        ({"grid__seeds": []}, "grid.seeds: empty, so that there is nothing to run; name at least one"),
        ({"grid__decodings": []}, NO_DECODING),
        *(
            ({"grid__decodings": [], "grid__methods": {**NO_METHODS, family: [family]}}, NO_DECODING)
            for family in ("seq", "both", "hybrid")
        ),
        (
            {"grid__methods__plain": ["plain", "plain"]},
            "grid.methods.plain: 'plain' stands twice; remove one",
        ),
        ({"grid__noises": ["clean", "clean"]}, "grid.noises: 'clean' stands twice; remove one"),
        (
            {"grid__decodings": ["bream"]},
            "grid.decodings: 'bream' names nothing under `decodings:` (known: beam); add it there or "
            "correct it",
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
        {
            "decodings__beam__kind": "sample",
            "decodings__beam__engine": "fairseq",
            "decodings__beam__length_penalties": [1.0],
            "decodings__beam__sampling": DRAWS,
        },
        {"methods__word__divergence": "jensen_shannon", "methods__word__beta": 0.1},
        {"methods__word__divergence": "total_variation", "methods__word__hardest": 0.5},
        {"methods__both__ranking": {"weight": 0.5, "tokens": 3}},
        {"methods__seq__sequence": "closest"},
        {
            "methods__hybrid__gate": {"kind": "fixed", "values": [0.0]},
            "methods__hybrid__divergence": "reverse_kl",
        },
        {"methods__hybrid__gate": {"kind": "validated", "values": [0.0, 0.5, 1.0]}},
        {"methods__online__on_policy__share": 0.0, "methods__online__hardest": 0.25},
        {"teacher__seeds": [3, 1, 2]},
        {"decodings__beam__compute": "int8", "evaluate__compute": "int8"},
        # A decoding that nobody asks for may stand there: the shipped configuration has one.
        {
            "decodings__rounded": {**changed()["decodings"]["beam"], "compute": "int8"},
            "teacher__seeds": [1, 2],
        },
        {"teacher__training__consistency": {"kind": "rdrop", "weight": 5.0}},
        {"teacher__training__consistency": {"kind": "simcut", "weight": 3.0, "cutoff": 0.05}},
        {"capacities__tiny__gates": GATES},
    ],
)
def test_values_that_go_together(changes: dict[str, Any]) -> None:
    validate(changed(**changes))


def test_consistency_is_a_teachers() -> None:
    """No student's loss has it: said there, it would change nothing and look as if it did."""
    (line,) = problems(changed(training__consistency={"kind": "rdrop", "weight": 1.0}))
    assert line.startswith("training.consistency: ")


def test_average_of_all_checkpoints_is_allowed() -> None:
    assert validate(changed(training__average=6)).training.average == 6


def test_decodings_may_be_empty_where_nothing_learns_from_them() -> None:
    families = {**NO_METHODS, "plain": ["plain"], "word": ["word"], "online": ["online"]}
    assert validate(changed(grid__decodings=[], grid__methods=families)).grid.decodings == []


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", FAMILIES)
def test_method_stands_in_its_own_family(family: str, method: str) -> None:
    raw = changed(grid__methods={**NO_METHODS, family: [method]})
    if family == method:
        validate(raw)
        return
    (line,) = problems(raw)
    assert re.fullmatch(
        rf"grid\.methods\.{family}: '{method}' .* needs sequence: .*; got .*; move it to its own family", line
    )


def test_family_says_what_it_reads() -> None:
    (line,) = problems(changed(grid__methods__word=["seq"]))
    assert (
        "needs sequence: gold and teacher_weight above 0.0; got hypothesis and 0.0; move it to its own family"
        in line
    )
    (line,) = problems(changed(grid__methods__seq=["both"]))
    assert (
        "needs sequence: hypothesis or closest and teacher_weight 0.0; got hypothesis and 0.5; move it "
        "to its own family" in line
    )
    (line,) = problems(changed(grid__methods__word=["online"]))
    assert (
        "needs sequence: gold and teacher_weight above 0.0; got gold and 0.5 and on_policy; move it to "
        "its own family" in line
    )
    (line,) = problems(changed(grid__methods__online=["word"]))
    assert (
        "needs sequence: gold and teacher_weight above 0.0 and on_policy; got gold and 0.5; move it to "
        "its own family" in line
    )
    (line,) = problems(
        changed(
            grid__methods__both=["closer"],
            methods__closer={**changed()["methods"]["both"], "sequence": "closest"},
        )
    )
    assert (
        "needs sequence: hypothesis and teacher_weight above 0.0; got closest and 0.5; move it to its "
        "own family" in line
    )


def test_rules_between_sections_are_listed_together() -> None:
    assert len(problems(changed(grid__seeds=[], corpus__target="en", grid__methods__word=["plain"]))) == 3


@pytest.mark.parametrize("value", [["tiny"], {"tiny": 1}, None, 3])
def test_grid_value_that_is_no_name_is_a_problem_like_others(value: Any) -> None:
    lines = problems(changed(grid__capacities=["tiny", value], bpe__merges=0))
    assert any(line.startswith("bpe.merges: ") for line in lines)
    assert any(line.startswith("grid.capacities.1: input should be a valid string") for line in lines)


def test_bare_no_in_the_grid_is_explained() -> None:
    assert problems(changed(grid__noises=["clean", False])) == [
        "grid.noises.1: input should be a valid string; got False; YAML reads a bare no, yes, on or "
        "off as a truth value: quote it",
        "grid.noises: False names nothing under `noises:` (known: clean, del10); add it there or correct it",
    ]


def test_ladder_names_capacities_each_once() -> None:
    assert problems(changed(ladder=["tiny", "tinny", "tiny"])) == [
        "ladder: 'tinny' names nothing under `capacities:` (known: tiny); add it there or correct it",
        "ladder: 'tiny' stands twice; remove one",
    ]


def test_no_training_starts_from_what_it_writes() -> None:
    own = (
        "is a run of this grid, which would start from itself; copy it elsewhere, or take it out of the grid"
    )
    raw = changed(training__init="models/student/../student/plain-tiny-clean-1/model")
    raw["teacher"]["training"] = {**raw["training"], "init": "models/teacher/clean"}
    assert problems(raw) == [
        f"teacher.training.init: 'models/teacher/clean' {own}",
        f"training.init: 'models/student/../student/plain-tiny-clean-1/model' {own}",
    ]
    validate(changed(training__init="models/student/plain-small-clean-1"))


def test_a_start_is_said_and_written_out() -> None:
    assert problems(changed(training__init=...)) == [
        "training.init: missing; say conf/random_weights, or the folder of a run"
    ]
    assert problems(changed(training__init="~/runs/a")) == [
        "training.init: '~/runs/a': nobody expands ~ here; write the home folder out"
    ]
