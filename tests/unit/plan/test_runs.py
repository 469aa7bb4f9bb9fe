"""nmtkd.plan.runs: the runs that the axes multiply out to, and their names as DVC spells them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.names import RESERVED
from nmtkd.plan.runs import Run, prefix, runs
from nmtkd.plan.schema import Grid

NO_METHODS: dict[str, list[str]] = {family: [] for family in FAMILIES}


def axes(**changes: Any) -> Grid:
    """One method of each family, named like it."""
    values = {
        "methods": {family: [family] for family in FAMILIES},
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
        "hybrid-tiny-clean-beam-2",
        "hybrid-tiny-clean-beam-1",
        "hybrid-tiny-clean-greedy-2",
        "hybrid-tiny-clean-greedy-1",
        "hybrid-small-clean-beam-2",
        "hybrid-small-clean-beam-1",
        "hybrid-small-clean-greedy-2",
        "hybrid-small-clean-greedy-1",
        "online-tiny-clean-2",
        "online-tiny-clean-1",
        "online-small-clean-2",
        "online-small-clean-1",
    ]


def test_noise_turns_slower_than_decoding() -> None:
    found = runs(
        axes(methods={**NO_METHODS, "seq": ["seq"]}, noises=["clean", "del10"], decodings=["beam", "greedy"])
    )
    assert [run.key for run in found] == [
        "seq-tiny-clean-beam-1",
        "seq-tiny-clean-greedy-1",
        "seq-tiny-del10-beam-1",
        "seq-tiny-del10-greedy-1",
    ]


def test_run_knows_its_place_on_the_axes() -> None:
    found = runs(axes(noises=["del10"], decodings=["sample"]))
    assert [run.family for run in found] == ["plain", "word", "seq", "both", "hybrid", "online"]
    decodings = {
        "plain": "none",
        "word": "gold",
        "seq": "sample",
        "both": "sample",
        "hybrid": "sample",
        "online": "student",
    }
    for run in found:
        place = {
            "method": run.family,
            "capacity": "tiny",
            "noise": "del10",
            "decoding": decodings[run.family],
            "seed": 1,
        }
        assert run.axes() == place


@pytest.mark.parametrize(
    ("family", "names", "key", "decoding"),
    [
        ("plain", "plain tiny clean 1", "plain-tiny-clean-1", "none"),
        ("word", "word_js small del30 2", "word_js-small-del30-2", "gold"),
        ("seq", "interp tiny clean beam 1", "interp-tiny-clean-beam-1", "beam"),
        ("both", "both tiny mix10 sample 3", "both-tiny-mix10-sample-3", "sample"),
        ("hybrid", "hybrid_best gated50 clean beam 1", "hybrid_best-gated50-clean-beam-1", "beam"),
        ("online", "on_policy tiny sub30_clean 12", "on_policy-tiny-sub30_clean-12", "student"),
    ],
)
def test_run_is_named_by_its_command_line(family: str, names: str, key: str, decoding: str) -> None:
    run = Run.from_key(family, names.replace(" ", "-"))
    method, capacity, noise, *_, seed = names.split()
    assert run == Run(
        family=family, method=method, capacity=capacity, noise=noise, decoding=decoding, seed=int(seed)
    )
    assert run.key == key


def test_decoding_is_an_axis_of_what_learns_from_hypotheses_alone() -> None:
    several = runs(axes(decodings=["beam", "sample"]))
    counts = {family: sum(run.family == family for run in several) for family in FAMILIES}
    assert counts == {"plain": 1, "word": 1, "seq": 2, "both": 2, "hybrid": 2, "online": 1}


def test_reserved_names_are_those_that_stand_in_a_decodings_place() -> None:
    assert {prefix(family) for family in FAMILIES.values()} == set(RESERVED["decodings"])


def test_methods_of_one_family_each_get_their_runs() -> None:
    found = runs(axes(methods={**NO_METHODS, "word": ["word", "word9"]}, noises=["clean", "sub10"]))
    assert [run.key for run in found] == [
        "word-tiny-clean-1",
        "word-tiny-sub10-1",
        "word9-tiny-clean-1",
        "word9-tiny-sub10-1",
    ]
    assert {run.family for run in found} == {"word"}


def test_runs_without_decodings_are_those_of_the_other_families() -> None:
    assert [run.key for run in runs(axes(decodings=[]))] == [
        "plain-tiny-clean-1",
        "word-tiny-clean-1",
        "online-tiny-clean-1",
    ]


names = st.from_regex(r"[a-z][a-z0-9_]{0,4}", fullmatch=True)


@given(
    st.fixed_dictionaries({family: st.lists(names, max_size=2, unique=True) for family in FAMILIES}),
    st.lists(names, max_size=2, unique=True),
    st.lists(names, max_size=2, unique=True),
    st.lists(names, max_size=2, unique=True),
    st.lists(st.integers(0, 2**31 - 1), max_size=2, unique=True),
)
def test_key_names_the_run_again(
    methods: dict[str, list[str]],
    capacities: list[str],
    noises: list[str],
    decodings: list[str],
    seeds: list[int],
) -> None:
    found = runs(
        axes(methods=methods, capacities=capacities, noises=noises, decodings=decodings, seeds=seeds)
    )
    for run in found:
        assert Run.from_key(run.family, run.key) == run
    for family in FAMILIES:
        keys = [run.key for run in found if run.family == family]
        assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("family", "given_names", "message"),
    [
        (
            "plain",
            ["plain", "tiny", "clean"],
            "family plain takes METHOD-CAPACITY-NOISE-SEED, the seed being a whole number; got "
            "plain-tiny-clean",
        ),
        ("plain", ["plain", "tiny", "clean", "beam", "1"], "takes METHOD-CAPACITY-NOISE-SEED"),
        (
            "word",
            ["word", "tiny", "clean", "one"],
            "takes METHOD-CAPACITY-NOISE-SEED, the seed being a whole number; got word-tiny-clean-one",
        ),
        ("seq", ["seq", "tiny", "clean", "1"], "family seq takes METHOD-CAPACITY-NOISE-DECODING-SEED"),
        ("plain", ["plain", "tiny", "clean", "01"], "the seed being a whole number; got plain-tiny-clean-01"),
        ("plain", ["plain", "tiny", "clean", "9" * 5000], "the seed being a whole number; got plain-tiny"),
        ("plain", ["plain", "tiny", "clean", "²"], "the seed being a whole number; got plain-tiny-clean-²"),
        (
            "both",
            ["both", "tiny", "clean", "beam", "-1"],
            "family both takes METHOD-CAPACITY-NOISE-DECODING-SEED",
        ),
        (
            "hybrid",
            ["hybrid", "tiny", "clean", "1"],
            "family hybrid takes METHOD-CAPACITY-NOISE-DECODING-SEED",
        ),
        (
            "online",
            ["online", "tiny", "clean", "beam", "1"],
            "family online takes METHOD-CAPACITY-NOISE-SEED",
        ),
    ],
)
def test_wrong_key_says_what_is_wanted(family: str, given_names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Run.from_key(family, "-".join(given_names))
