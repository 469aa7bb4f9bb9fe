"""nmtkd.plan.names: names of the grid that name nothing, and names that stand for two things."""

import re
from typing import Any

import pytest

from nmtkd.plan import layout
from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.names import RESERVED
from nmtkd.plan.params import ParamsError, load, validate
from nmtkd.plan.runs import runs
from tests.unit.plan.good import GOOD, changed, problems, saved

AXES = [
    "grid.capacities",
    "grid.noises",
    "grid.decodings",
    *(f"grid.methods.{family}" for family in FAMILIES),
]
ARCHIVE = {"name": "a.gz", "sha256": "0" * 64, "bytes": 1, "mirrors": []}


def misspelt(*axes: str, beside: bool = False) -> dict[str, Any]:
    """The good values with a name that names nothing in each axis, alone or beside the right ones."""
    changes = {}
    for axis in axes:
        right = changed()
        for part in axis.split("."):
            right = right[part]
        changes[axis.replace(".", "__")] = [*(right if beside else []), "nope"]
    return changed(**changes)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("axis", AXES)
def test_one_misspelt_name_is_one_message_that_says_where(axis: str, beside: bool) -> None:
    section = "methods" if "methods" in axis else axis.partition(".")[2]
    known = ", ".join(sorted(changed()[section]))
    assert problems(misspelt(axis, beside=beside)) == [
        f"{axis}: 'nope' names nothing under `{section}:` (known: {known}); add it there or correct it"
    ]


def test_misspelt_names_of_all_axes_are_one_message_each() -> None:
    found = problems(misspelt(*AXES))
    assert [line.partition(":")[0] for line in found] == AXES


def test_a_misspelt_name_stops_load_whatever_was_asked_for(tmp_path: Any) -> None:
    path = saved(tmp_path, GOOD.replace("word: [word]", "word: [wort]"))
    for names in (("methods.word",), ("grid", "report"), ()):
        with pytest.raises(ParamsError, match=r"grid\.methods\.word: 'wort' names nothing"):
            load(*names, path=path)


def test_a_misspelt_name_is_told_beside_another_mistake_of_its_axis() -> None:
    found = problems(
        changed(grid__methods__word=["nope", "plain", "nope"], grid__capacities=["tiny", "x", "tiny"])
    )
    assert [re.split(r" \(|; |: this", line)[0] for line in found] == [
        "grid.capacities: 'x' names nothing under `capacities:`",
        "grid.capacities: 'tiny' stands twice",
        *["grid.methods.word: 'nope' names nothing under `methods:`"] * 2,
        "grid.methods.word: 'nope' stands twice",
        "grid.methods.word: 'plain' reads something else",
    ]


@pytest.mark.parametrize("name", ["train", "valid", "all"])
def test_a_test_set_is_not_called_like_another_part_of_a_corpus(name: str) -> None:
    line = f"corpus.tests.{name}: this name stands for {RESERVED['corpus.tests'][name]}; choose another"
    assert problems(changed(corpus__tests=["test", name])) == [line]


def test_a_test_set_stands_once() -> None:
    assert problems(changed(corpus__tests=["test", "other", "test"])) == [
        "corpus.tests: 'test' stands twice; remove one"
    ]


def test_a_test_set_is_not_called_like_the_long_segments_of_another() -> None:
    line = (
        "corpus.tests.test_long: 'test_long' is also what the segments of 'test' with 4 words and more are "
        "called (evaluate.long_words); choose another"
    )
    assert problems(changed(corpus__tests=["test_long", "test"])) == [line]
    validate(changed(corpus__tests=["test", "test_long"], evaluate__long_words=0))
    validate(changed(corpus__tests=["test_long", "test_long_long_ago"]))


@pytest.mark.parametrize(("section", "entry"), [("methods", "word"), ("capacities", "tiny")])
def test_no_method_or_capacity_is_called_teacher(section: str, entry: str) -> None:
    line = f"{section}.teacher: this name stands for the teacher among results; choose another"
    assert problems(changed(**{f"{section}__teacher": changed()[section][entry]})) == [line]


def test_archives_have_names_of_their_own() -> None:
    assert problems(changed(corpus__archives=[ARCHIVE, ARCHIVE])) == [
        "corpus.archives: 'a.gz' stands twice; remove one"
    ]
    validate(changed(corpus__archives=[ARCHIVE, {**ARCHIVE, "name": "b.gz"}]))


def test_keys_of_all_families_and_teachers_differ() -> None:
    """Families differ in the number of names in a key or, as rules.py sees to it, in the method."""
    grid = validate(changed(grid__noises=["clean", "del10"], grid__seeds=[1, 2])).grid
    keys = [run.key for run in runs(grid)] + [layout.teacher_key(noise) for noise in grid.noises]
    assert len(set(keys)) == len(keys) == 2 * 2 * 6 + 2


def test_the_longest_key_is_a_file_name() -> None:
    name = "x" * 45
    assert problems(changed(report__study=name + "x")) == [
        f"report.study: string should have at most 45 characters; got '{name}x'"
    ]
    parts = [name] * 4 + [str(2**31 - 1)]
    for put_around in ("..json.1234567.tmp", "..part", "student-.lock"):
        assert len("-".join(parts) + put_around) <= 255 - 30
