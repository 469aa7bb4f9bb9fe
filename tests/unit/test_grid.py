"""nmtkd.grid: the runs that the axes multiply out to, their names as DVC spells them, and their places."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd import grid
from nmtkd.grid import Run, runs
from nmtkd.params import FAMILY_SHAPES, Grid


def axes(**changes: Any) -> Grid:
    values = {
        "methods": {"plain": ["plain"], "word": ["word"], "seq": ["seq"], "both": ["both"]},
        "capacities": ["tiny"],
        "noises": ["clean"],
        "decodings": ["beam"],
        "seeds": [1],
    }
    return Grid.model_validate(values | changes)


def test_runs_are_the_product_in_the_order_of_the_pipeline() -> None:
    found = runs(axes(capacities=["tiny", "small"], decodings=["beam", "greedy"], seeds=[2, 1]))
    assert [run.key for run in found] == [
        "plain-tiny-clean-2",
        "plain-tiny-clean-1",
        "plain-small-clean-2",
        "plain-small-clean-1",
        "word-tiny-clean-2",
        "word-tiny-clean-1",
        "word-small-clean-2",
        "word-small-clean-1",
        "seq-tiny-clean-beam-2",
        "seq-tiny-clean-beam-1",
        "seq-tiny-clean-greedy-2",
        "seq-tiny-clean-greedy-1",
        "seq-small-clean-beam-2",
        "seq-small-clean-beam-1",
        "seq-small-clean-greedy-2",
        "seq-small-clean-greedy-1",
        "both-tiny-clean-beam-2",
        "both-tiny-clean-beam-1",
        "both-tiny-clean-greedy-2",
        "both-tiny-clean-greedy-1",
        "both-small-clean-beam-2",
        "both-small-clean-beam-1",
        "both-small-clean-greedy-2",
        "both-small-clean-greedy-1",
    ]


def test_noise_turns_slower_than_decoding() -> None:
    found = runs(
        axes(methods={"plain": [], "word": [], "seq": ["seq"], "both": []}, noises=["clean", "del10"], decodings=["beam", "greedy"])
    )
    assert [run.key for run in found] == [
        "seq-tiny-clean-beam-1",
        "seq-tiny-clean-greedy-1",
        "seq-tiny-del10-beam-1",
        "seq-tiny-del10-greedy-1",
    ]


def test_a_run_knows_its_place_on_the_axes() -> None:
    plain, word, seq, both = runs(axes(noises=["del10"]))
    assert plain.facts() == {"method": "plain", "capacity": "tiny", "noise": "del10", "decoding": "none", "seed": 1}
    assert word.facts() == {"method": "word", "capacity": "tiny", "noise": "del10", "decoding": "gold", "seed": 1}
    assert seq.facts() == {"method": "seq", "capacity": "tiny", "noise": "del10", "decoding": "beam", "seed": 1}
    assert both.family == "both"


def test_methods_of_one_family_each_get_their_runs() -> None:
    found = runs(axes(methods={"plain": [], "word": ["word", "word9"], "seq": [], "both": []}, noises=["clean", "sub10"]))
    assert [run.key for run in found] == ["word-tiny-clean-1", "word-tiny-sub10-1", "word9-tiny-clean-1", "word9-tiny-sub10-1"]
    assert {run.family for run in found} == {"word"}


def test_without_decodings_the_other_families_remain() -> None:
    assert [run.key for run in runs(axes(decodings=[]))] == ["plain-tiny-clean-1", "word-tiny-clean-1"]


names = st.from_regex(r"[a-z][a-z0-9_]{0,4}", fullmatch=True)


@given(
    st.fixed_dictionaries({family: st.lists(names, max_size=2, unique=True) for family in FAMILY_SHAPES}),
    st.lists(names, max_size=2, unique=True),
    st.lists(names, max_size=2, unique=True),
    st.lists(names, max_size=2, unique=True),
    st.lists(st.integers(0, 2**31 - 1), max_size=2, unique=True),
)
def test_a_command_line_names_the_run_again(
    methods: dict[str, list[str]], capacities: list[str], noises: list[str], decodings: list[str], seeds: list[int]
) -> None:
    found = runs(axes(methods=methods, capacities=capacities, noises=noises, decodings=decodings, seeds=seeds))
    for run in found:
        assert Run.named(run.family, run.key.split("-")) == run
    for family in FAMILY_SHAPES:
        keys = [run.key for run in found if run.family == family]
        assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("family", "given_names", "message"),
    [
        (
            "plain",
            ["plain", "tiny", "clean"],
            "family plain takes METHOD CAPACITY NOISE SEED, the seed being a whole number; got plain tiny clean",
        ),
        ("plain", ["plain", "tiny", "clean", "beam", "1"], "takes METHOD CAPACITY NOISE SEED"),
        (
            "word",
            ["word", "tiny", "clean", "one"],
            "takes METHOD CAPACITY NOISE SEED, the seed being a whole number; got word tiny clean one",
        ),
        ("seq", ["seq", "tiny", "clean", "1"], "family seq takes METHOD CAPACITY NOISE DECODING SEED"),
        ("plain", ["plain", "tiny", "clean", "²"], "the seed being a whole number; got plain tiny clean ²"),
        ("both", ["both", "tiny", "clean", "beam", "-1"], "family both takes METHOD CAPACITY NOISE DECODING SEED"),
    ],
)
def test_a_wrong_command_line_says_what_is_wanted(family: str, given_names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Run.named(family, given_names)


def test_places() -> None:
    assert grid.noise_dir("del10") == Path("data/noise/del10")
    assert grid.teacher_dir("del10") == Path("models/teacher/del10")
    assert grid.hypotheses_dir("del10", "beam") == Path("data/hypotheses/del10-beam")
    assert grid.targets_dir("del10", grid.GOLD) == Path("data/targets/del10-gold")
    assert grid.student_dir("word-tiny-clean-1") == Path("models/student/word-tiny-clean-1")
    assert grid.translations_dir("word-tiny-clean-1") == Path("data/translations/word-tiny-clean-1")
    assert grid.result_file("word-tiny-clean-1") == Path("reports/runs/word-tiny-clean-1.json")
    assert grid.teacher_key("del10") == "teacher-del10"
