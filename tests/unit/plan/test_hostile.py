"""Every value of the shipped configurations, replaced by hostile ones: refused by its name, or in ALLOWED."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from nmtkd.plan.params import ParamsError, validate
from nmtkd.plan.problems import shown
from nmtkd.plan.schema import Params
from tests.structure.graph import ROOT
from tests.structure.test_house import COMBINATIONS, COMPOSE, GROUPS

Path = tuple[str | int, ...]
LONG = "x" * 10_000
HOSTILE: list[Any] = [
    None, True, False, "", " ", "x", "X", "..", "a/b", "~/x", "1", "two\nlines", "nul\0", "\ud800", LONG,
    -1, 0, 1, 10**12, 10**5000, -0.5, 1.5, 1e-300, 1e300, math.nan, math.inf, -math.inf, [], {}, [1], ["x"],
    {"x": 1}, {1: 1}, [[]],
]  # fmt: skip

# What may stand in a place (a regular expression of its path, numbers of lists as *) without a message, and
# why. A value is accepted only if a row allows it; a row that allows nothing that is tried is too many.
WHOLE = r"(bytes|merges|min_frequency|updates|max_tokens|beam|nbest|top_k|tokens|\w+_layers|ffn|min_segments)"
ALLOWED: list[tuple[str, list[Any], str]] = [
    (rf".*\.{WHOLE}|.*\.max_words\.\w+", [1], "one is small, and what data it is too small for, data tell"),
    (r".*\.(heads|checkpoint_every|average|warmup|closing)", [1], "one is the least of each"),
    (r".*seeds?|.*\.seeds\.\*", [0, 1], "any seed is as good as another"),
    (r".*\.(\w+_pairs|max_length_offset|from_update|ratio_slack|long_words)", [0, 1], "0 is for none"),
    (r".*\.(dropout|label_smoothing)", [0], "0 switches it off"),
    (r".*\.(clip_norm|polarity)", [0, 1, 1.5], "0 switches it off"),
    (r".*\.weight_decay", [0, 1], "0 switches it off; 1 is lr itself"),
    (r".*\.adam_betas\.\*", [0], "0 forgets at once: RMSProp, and Adam without a memory"),
    (r".*\.lr", [1], "its upper bound"),
    (r".*\.(teacher_weight|share)|.*\.values\.\*", [0, 1], "the ends of a mixture"),
    (r"noises\..*\.(rate|substitution|deletion|swap)", [1], "every word"),
    (r"noises\..*\.rates\.\w+", [0], "0 leaves a kind out"),
    (r".*\.(budget|hardest|top_p|near_duplicate)", [1], "1 is for all"),
    (r".*\.(temperature|weight|max_climb|max_length_factor)", [1, 1.5], "plain values"),
    (r".*\.max_ratio", [1.5], "a plain value"),
    (r".*\.opening", [-1, 0, 1, -0.5, 1.5], "a bias has either sign"),
    (r".*\.length_penalties\.\*", [0, 1, 1.5], "0 ranks by log probability alone"),
    (r"corpus\.(name|reader|source|target|tests\.\*)|report\.study", ["x"], "a new name, of its reader's"),
    (r".*\.bytes", [10**12], "a terabyte"),
    (r".*\.(pre_norm|lowercase|placeholders)", [True, False], "both are meant"),
    (r"bpe\.max_pieces", [1], "one is small, and what data it is too small for, data tell"),
    (r"corpus\.archives\.\*\.(sha256|md5|git_blob|bytes)", [None], "another one is enough"),
    (r"corpus\.parts", [None, {}], "the reader says which splits it lacks"),
    (r"corpus\.parts\.\w+", [[]], "the reader says so of a split that is asked for"),
    (r"corpus\.parts\..*\.(archive|member)", ["x", "X", "..", "a/b", "~/x", "1"], "a name to look for"),
    (r"corpus\.parts\..*\.misaligned", [None], "no rows are known to be"),
    (r"corpus\.parts\..*\.misaligned\.\*", [0, 1], "a row before the last"),
    (r"corpus\.parts\..*\.(member|pairs|total|languages)", [None], "a part may go without"),
    (r"corpus\.parts\..*\.(pairs|total)", [1], "a count, compared with what is there"),
    (r"corpus\.parts\..*\.languages\.\*", ["x"], "a language, of the reader's"),
    (r"corpus\.(tags|misaligned)", [None], "not of every corpus; the reader says what it lacks"),
    (r"corpus\.tags\.\w+", [[], ["x"]], "nothing goes, or another tag"),
    (r"corpus\.tags\.\w+\.\*", ["x", "X", "..", "a/b", "~/x", "1"], "a piece of a line, whatever it is"),
    (r"prepare\.normalise_tests", [[]], "nothing is normalised"),
    (r"prepare\.valid_every", [0], "the corpus has such a set"),
    (r"prepare\.expected", [None], "no counts are known"),
    (r"prepare\.expected\.\w+", [1], "a count, compared with what is there"),
    (r"bpe\.(max_pieces|max_ratio)", [None], "not decided by pieces"),
    (r"corpus\.archives\.\*\.name", ["x", "X", "1"], "a file's name"),
    (r"corpus\.license", ["x", "X", "..", "a/b", "~/x", "1"], "words of a person"),
    (r"corpus\.folder", ["x", "X", "..", "a/b", "1"], "a folder, which DVC and the reader look for"),
    (r"corpus\.tests", [["x"]], "one test set of this name"),
    (r"corpus\.archives|.*\.mirrors", [[]], "the reader and the fetching say what they lack"),
    (r"prepare\.normalise", [[]], "nothing is normalised"),
    (r"grid\.methods\.\w+", [[]], "a family without students, beside others"),
    (r"(grid|teacher)\.seeds", [[1]], "one seed"),
    (r"methods\.hybrid_half\.gate\.values", [[1]], "another fixed value"),
    (r".*\.length_penalties", [[1]], "one penalty"),
    (r".*\.init", ["x", "X", "..", "a/b", "1"], "a folder, which DVC and the training look for"),
    (r".*\.accumulate", [None, 1], "one batch an update"),
    (r".*\.consistency", [None], "no regulariser"),
    (r"capacities\.\w+\.gates", [None], "no gates: a fixed capacity"),
    (r"methods\.\w+\.(hardest|ranking|on_policy)", [None], "an option that a method may go without"),
    (r"noises\.\w+\.teacher_sees", [None], "the teacher sees what its students see"),
]  # fmt: skip


@pytest.fixture(scope="module")
def composed() -> list[dict[str, Any]]:
    """Params of every choice of a group: each in one composition, since groups are apart in conf/."""
    axes = [dict.fromkeys(choice[axis] for choice in COMBINATIONS) for axis in range(len(GROUPS))]
    wanted = [[f"{GROUPS[axis]}={choice}"] for axis, choices in enumerate(axes) for choice in choices]
    command = [sys.executable, "-c", COMPOSE, str(ROOT / "conf"), json.dumps(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every section, list and value below the top, with its path."""
    names: Iterable[str | int] = range(len(value)) if isinstance(value, list) else value
    for name in names if isinstance(value, dict | list) else ():
        yield (*path, name), value[name]
        yield from places(value[name], (*path, name))


def general(path: Path) -> str:
    return ".".join("*" if isinstance(part, int) else part for part in path)


SCHEMA = Params.model_json_schema()


def described(path: Path) -> dict[str, Any]:
    """The schema of a place."""
    node = resolved(SCHEMA)
    for part in path:
        inner: dict[str, Any] = node.get("additionalProperties") or next(
            iter(node.get("patternProperties", {}).values()), {}
        )
        node = resolved(
            node["items"] if isinstance(part, int) else node.get("properties", {}).get(part, inner)
        )
    return node


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """A schema itself, where it is a reference or may also be null."""
    while True:
        if "anyOf" in node:
            node = node["anyOf"][0]
        elif "$ref" in node:
            node = SCHEMA["$defs"][node["$ref"].rpartition("/")[2]]
        else:
            return node


def outside(node: dict[str, Any]) -> list[Any]:
    """Values just outside the bounds of a number."""
    whole = node.get("type") == "integer"

    def beyond(bound: Any, end: float) -> Any:
        return bound + (1 if end > 0 else -1) if whole else math.nextafter(bound, end)

    found = [
        beyond(node[name], end)
        for name, end in (("minimum", -math.inf), ("maximum", math.inf))
        if name in node
    ]
    return found + [node[name] for name in ("exclusiveMinimum", "exclusiveMaximum") if name in node]


def numbers_and_texts(node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, section in {"Params": node, **node["$defs"]}.items():
        for field, value in section["properties"].items():
            waiting = [value]
            while waiting:
                inner = waiting.pop()
                if (
                    inner.get("type") in ("integer", "number", "string")
                    and not {"enum", "const"} & inner.keys()
                ):
                    yield f"{name}.{field}", inner
                waiting += [*inner.get("anyOf", ()), *([inner["items"]] if "items" in inner else [])]


def test_every_number_has_two_bounds_and_every_text_a_form_and_a_length() -> None:
    found = list(numbers_and_texts(SCHEMA))
    assert len(found) > 60
    for name, node in found:
        if node["type"] == "string":
            assert {"pattern", "maxLength"} <= node.keys(), name
        else:
            assert {"minimum", "exclusiveMinimum"} & node.keys(), name
            assert {"maximum", "exclusiveMaximum"} & node.keys(), name


def names_it(line: str, path: Path) -> bool:
    """Whether a problem names a place: by its path, or by a section above it and its own name."""
    dotted = ".".join(map(str, path))
    if line.startswith((f"{dotted}:", f"{dotted}.")) or f"`{dotted}:`" in line:
        return True
    *above, own = [part for part in path if isinstance(part, str)]
    where, _, text = line.partition(": ")
    where = re.sub(r"\.\d+$", "", where)  # an entry of a list is told by its number
    sections = [".".join(above[:depth]) for depth in range(1, len(above) + 1)]
    return where == ".".join([*above, own]) or (
        where in sections and re.search(rf"\b{own}\b", text) is not None
    )


def test_each_hostile_value_is_refused_by_the_name_of_its_place_or_allowed(
    composed: list[dict[str, Any]],
) -> None:
    tried: set[tuple[str, str]] = set()
    used: set[str] = set()
    wrong = []
    for raw in composed:
        for path, value in list(places(raw)):
            place = general(path)
            apart = "" if isinstance(value, dict) or "archives" in path else repr(value)
            if (place, apart) in tried:
                continue
            tried.add((place, apart))
            *above, last = path
            holder: Any = raw
            for part in above:
                holder = holder[part]
            for hostile in [*HOSTILE, *outside(described(path))]:
                if type(hostile) is type(value) and hostile == value:
                    continue
                holder[last] = hostile
                verdict = judged(raw, path, hostile, used)
                if verdict:
                    wrong.append(f"{place} = {shown(hostile)}: {verdict}")
            holder[last] = value
    assert len(tried) > 400
    assert not wrong, "\n".join(wrong)
    assert [row for row, *_ in ALLOWED if row not in used] == []


def judged(raw: dict[str, Any], path: Path, hostile: Any, used: set[str]) -> str:
    """What is wrong with what was said of a hostile value, or nothing."""
    try:
        validate(raw)
    except ParamsError as error:
        lines = [line[2:] for line in str(error).split("\n")[1:]]
        return "" if any(names_it(line, path) for line in lines) else f"not named: {error}"
    except Exception as error:  # whatever it is, a user sees a traceback
        return repr(error)
    for row, values, _ in ALLOWED:
        allowed = any(type(one) is type(hostile) and one == hostile for one in values)
        if allowed and re.fullmatch(row, general(path)):
            used.add(row)
            return ""
    return "accepted"
