"""Bounds of single values: the last that is taken, and the first that is not."""

import copy
import math
from typing import Any

import pytest

from nmtkd.plan.params import ParamsError, check_dictionary, validate
from tests.unit.plan.good import DRAWS, GATES, GOOD, changed, mixed, problems, saved

RECIPES = ("training", "teacher__training")
SEARCHES = ("evaluate", "decodings__beam")
ARCHIVE = {"name": "a.gz", "sha256": "0" * 64, "bytes": 1, "mirrors": ["https://a.org/a"]}
SAMPLE = {**changed()["decodings"]["beam"], "kind": "sample", "engine": "fairseq", "length_penalties": [1.0]}
RANKED = {**changed()["methods"]["word"], "ranking": {"weight": 1.0, "tokens": 5}}
SIMCUT = {"kind": "simcut", "weight": 1.0, "cutoff": 0.5}
BASE: dict[str, Any] = {
    "decodings__sample": {**SAMPLE, "sampling": DRAWS},
    "methods__ranked": RANKED,
    "capacities__gated": {**changed()["capacities"]["tiny"], "gates": GATES},
    "capacities__narrow": {**changed()["capacities"]["tiny"], "heads": 1},
    "noises__mix": mixed(),
    "corpus__archives": [ARCHIVE],
    "teacher__training__consistency": SIMCUT,
}
ABOVE_ONE, BELOW = math.nextafter(1.0, 2.0), math.nextafter(1.0, 0.0)


def changed_base(place: str, value: Any) -> dict[str, Any]:
    """Good values with all options, of which one is replaced."""
    raw = copy.deepcopy(changed(**BASE))
    part: Any = raw
    *above, last = [int(name) if name.isdigit() else name for name in place.split("__")]
    for name in above:
        part = part[name]
    part[last] = value
    return raw


# place, values taken, values refused
BOUNDS: list[tuple[str, list[Any], list[Any]]] = [
    *((f"{recipe}__adam_betas", [[0.0, 0.0], [BELOW, BELOW]], [[1.0, 0.98], [0.9, 1.0], [-0.1, 0.9]])
      for recipe in RECIPES),
    *((f"{recipe}__dropout", [0.0, 0.9], [0.91, 1.0, 1e-8, -0.1]) for recipe in RECIPES),
    *((f"{recipe}__label_smoothing", [0.0, 0.99], [1.0, 1e-8, -0.1]) for recipe in RECIPES),
    *((f"{recipe}__lr", [1e-7, 1.0], [0.0, 1e-8, ABOVE_ONE]) for recipe in RECIPES),
    *((f"{recipe}__warmup", [1, 600], [0, 601]) for recipe in RECIPES),
    *((f"{recipe}__max_tokens", [1, 10**6], [0, 10**6 + 1]) for recipe in RECIPES),
    *((f"{recipe}__clip_norm", [0.0, 1000.0], [-1.0, 1e-8, 1001.0]) for recipe in RECIPES),
    *((f"{recipe}__weight_decay", [0.0, 1.0], [-0.1, 1e-8, ABOVE_ONE]) for recipe in RECIPES),
    *((f"{recipe}__curve_pairs", [0, 10**5], [-1, 10**5 + 1]) for recipe in RECIPES),
    ("training__updates", [600, 10**7], [10**7 + 100]),
    *((f"{search}__beam", [5, 1000], [0, 1001]) for search in SEARCHES),
    *((f"{search}__max_length_factor", [0.1, 10.0], [0.0001, 0.09, 10.1]) for search in SEARCHES),
    *((f"{search}__max_length_offset", [0, 1000], [-1, 1001]) for search in SEARCHES),
    *((f"{search}__length_penalties", [[0.0, 5.0]], [[-0.1], [5.1], [1e-8], []]) for search in SEARCHES),
    ("decodings__beam__nbest", [1, 5], [0, 1001]),
    ("decodings__sample__sampling__temperature", [1e-7, 100.0], [0.0, 1e-8, 1e-30, 101.0, 1e30]),
    ("decodings__sample__sampling__top_p", [1e-7, 1.0], [0.0, 1e-8, ABOVE_ONE]),
    ("targets__temperature", [0.1, 100.0], [0.09, 1e-30, 101.0, 1e30]),
    ("targets__top_k", [1, 10**9], [0, 10**9 + 1]),
    ("targets__max_tokens", [1, 10**6], [0, 10**6 + 1]),
    ("methods__online__on_policy__temperature", [1e-7, 100.0], [1e-8, 101.0]),
    ("methods__online__on_policy__max_length_offset", [0, 1000], [-1, 1001]),
    ("methods__ranked__ranking__tokens", [1, 100], [0, 101]),
    ("methods__ranked__ranking__weight", [1e-7, 1000.0], [0.0, 1e-8, 1001.0]),
    ("methods__ranked__hardest", [1e-7, 1.0], [0.0, 1e-8, ABOVE_ONE]),
    ("methods__ranked__teacher_weight", [1e-7, 1.0], [1e-8, ABOVE_ONE, -0.1]),
    ("capacities__narrow__width", [4, 5, 2**14], [1, 2, 3, 2**14 + 1]),
    ("capacities__tiny__encoder_layers", [1, 100], [0, 101]),
    ("capacities__tiny__decoder_layers", [1, 100], [0, 101]),
    ("capacities__tiny__ffn", [1, 2**16], [0, 2**16 + 1]),
    ("capacities__tiny__heads", [1, 48], [0, 96]),
    ("capacities__gated__gates__budget", [1e-7, 1.0], [0.0, 1e-8, ABOVE_ONE]),
    ("capacities__gated__gates__weight", [1e-7, 1000.0], [0.0, 1e-8, 1001.0]),
    ("capacities__gated__gates__polarity", [0.0, 1000.0], [-1.0, 1e-8, 1001.0]),
    ("capacities__gated__gates__opening", [-10.0, 0.0, 10.0], [-10.1, 10.1, 1e-8, -1e-8]),
    ("teacher__training__consistency__cutoff", [1e-7, 0.99], [0.0, 1.0]),
    ("teacher__training__consistency__weight", [1e-7, 1000.0], [0.0, 1001.0]),
    ("noises__del10__rate", [1e-7, 1.0], [0.0, 1e-8, ABOVE_ONE]),
    ("noises__mix__rates__deletion", [0.0, 0.8], [0.81, 1e-8]),
    ("prepare__max_ratio", [1.1, 1000.0], [1.0, 1001.0]),
    ("prepare__near_duplicate", [0.1, 1.0], [0.0, 0.09, ABOVE_ONE]),
    ("prepare__ratio_slack", [0, 10**9], [-1, 10**9 + 1]),
    ("prepare__train_pairs", [0, 10**9], [-1, 10**9 + 1]),
    ("prepare__valid_every", [0, 2, 10**9], [-1, 1, 10**9 + 1]),
    ("bpe__max_pieces", [None, 1, 10**9], [0, 10**9 + 1]),
    ("bpe__max_ratio", [None, 1.1, 1000.0], [1.0, 1001.0]),
    ("bpe__merges", [1, 10**6], [0, 10**6 + 1]),
    ("report__confidence", [0.5, 0.95], [0.0, 0.49, 0.99991, 1.0]),
    ("report__bootstrap_samples", [40, 10**5], [1, 39, 10**5 + 1]),
    ("report__max_climb", [1e-7, 100.0], [0.0, 101.0]),
    ("corpus__archives__0__name", ["_1.0+b!-c.whl", "x" * 200], ["", "..", "a/b", "a\0", "*", "x" * 201]),
    ("corpus__archives__0__sha256", ["a" * 64], ["a" * 63, "A" * 64, "a" * 64 + "\n", ""]),
    ("corpus__archives__0__md5", [None, "a" * 32], ["a" * 31, "A" * 32, ""]),
    ("corpus__archives__0__git_blob", [None, "a" * 40], ["a" * 39, "A" * 40, ""]),
    ("corpus__archives__0__bytes", [1, 2**50], [0, 2**50 + 1]),
    ("corpus__archives__0__mirrors", [[], ["pip:a==1"]], [[""], ["a"], ["https://a b"], ["https:a\nb"]]),
    ("corpus__license", ["CC BY 4.0", "x" * 1000], ["", " ", "CC0 ", "a\nb", "a\0b", "a\u2028b", "x" * 1001]),
    ("corpus__folder", ["/my texts/ä", ".."], ["", " a", "a\n", "a\tb", "~/a"]),
]  # fmt: skip


@pytest.mark.parametrize(("place", "taken", "refused"), BOUNDS, ids=[place for place, *_ in BOUNDS])
def test_bounds(place: str, taken: list[Any], refused: list[Any]) -> None:
    for value in taken:
        validate(changed_base(place, value))
    for value in refused:
        lines = problems(changed_base(place, value))
        where, own = place.replace("__", "."), place.rpartition("__")[2]
        section = where.rpartition(".")[0]
        assert any(
            line.startswith(where) or (line.startswith(f"{section}: ") and own in line) for line in lines
        ), value


def test_bounds_are_told_with_value_and_place() -> None:
    assert problems(changed(training__adam_betas=[1.0, 0.98])) == [
        "training.adam_betas.0: input should be less than 1; got 1.0"
    ]
    assert problems(changed(training__clip_norm=1e-300)) == [
        "training.clip_norm: input should be 0 or at least 1e-07: float32 has no smaller step beside 1; "
        "got 1e-300"
    ]
    assert problems(changed(report__bootstrap_samples=39)) == [
        "report.bootstrap_samples: must be 40 or more, else no p is below 1 - report.confidence (0.95); "
        "got 39; raise it"
    ]
    assert problems(changed(training__warmup=601)) == [
        "training.warmup: must be updates (600) or less, else lr is never reached; got 601; lower it"
    ]


@pytest.mark.parametrize(
    ("confidence", "least"), [(0.5, 4), (0.9, 20), (0.95, 40), (0.99, 200), (0.999, 2000)]
)
def test_the_fewest_samples_still_find_a_difference(confidence: float, least: int) -> None:
    validate(changed(report__confidence=confidence, report__bootstrap_samples=least))
    assert 2 / (1 + least) < 1 - confidence <= 2 / least + 1e-12
    assert len(problems(changed(report__confidence=confidence, report__bootstrap_samples=least - 1))) == 1


def test_a_model_that_no_machine_holds() -> None:
    wide = {"encoder_layers": 6, "decoder_layers": 6, "width": 8192, "ffn": 32768, "heads": 16}
    # 6 x 4 and 6 x 8 matrices of width x width, 12 x 2 of width x ffn
    parameters = 72 * 8192**2 + 24 * 8192 * 32768
    assert problems(changed(capacities__tiny=wide)) == [
        f"capacities.tiny: encoder_layers, decoder_layers, width and ffn: {parameters:,} parameters without "
        "embeddings, at most 10,000,000,000; lower one"
    ]
    validate(changed(capacities__tiny={**wide, "ffn": 24576}))


@pytest.mark.parametrize("rates", [(0.5, 0.3, 0.21), (0.0, 0.0, 0.0), (1.0, 0.0, 0.1)])
def test_rates_of_a_mixture_are_one_corruption_a_word_at_most(rates: tuple[float, ...]) -> None:
    named = dict(zip(("deletion", "substitution", "swap"), rates, strict=True))
    assert problems(changed(noises__mix=mixed(rates=named))) == [
        "noises.mix.rates: deletion, substitution and swap: together above 0.0 and at most 1.0, one "
        f"corruption a word; got {named}"
    ]


def test_rates_of_a_mixture_may_hit_every_word() -> None:
    """Also where plain addition of the numbers would leave a little more than 1."""
    for rates in ((0.7, 0.2, 0.1), (0.1, 0.2, 0.7), (0.6, 0.3, 0.1), (1.0, 0.0, 0.0)):
        named = dict(zip(("deletion", "substitution", "swap"), rates, strict=True))
        validate(changed(noises__mix=mixed(rates=named)))


def test_a_dictionary_has_the_tokens_that_a_method_of_the_grid_ranks(tmp_path: Any) -> None:
    text = GOOD.replace("forward_kl}", "forward_kl, ranking: {weight: 1.0, tokens: 40}}", 1)
    path = saved(tmp_path, text)
    check_dictionary({"joint": 40, "tgt": 30}, path)
    with pytest.raises(ParamsError) as caught:
        check_dictionary({"joint": 39, "tgt": 30}, path)
    assert str(caught.value).split("\n")[1:] == [
        "  methods.word.ranking.tokens: must be 39 or less, the pieces of the dictionary; got 40; "
        "lower it, or raise bpe.merges"
    ]
    nobody = saved(tmp_path, text.replace("word: [word]", "word: []"))
    check_dictionary({"joint": 39, "tgt": 30}, nobody)  # nobody trains it
    separate = saved(tmp_path, text.replace("embeddings: joint", "embeddings: separate"))
    check_dictionary({"joint": 50, "tgt": 40}, separate)
    with pytest.raises(ParamsError, match="must be 39 or less"):
        check_dictionary({"joint": 50, "tgt": 39}, separate)
