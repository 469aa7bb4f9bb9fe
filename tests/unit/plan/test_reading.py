"""nmtkd.plan.reading: one message for whatever is no YAML, and for what YAML would take in silence."""

from pathlib import Path

import pytest

from nmtkd.plan.params import ParamsError, load
from nmtkd.plan.reading import read_yaml
from tests.unit.plan.good import GOOD, saved


def refused(path: Path) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        load("bpe", path=path)
    head, *lines = str(caught.value).split("\n")
    assert head.startswith(f"{path}: ")
    return [head.removeprefix(f"{path}: "), *lines]


@pytest.mark.parametrize(
    ("text", "got"), [("", "None"), ("- 1", "[1]"), ("3", "3"), ("text", "'text'"), ("---\n", "None")]
)
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str, got: str) -> None:
    assert refused(saved(tmp_path, text)) == [
        "1 problem",
        f"  (top level): input should be a valid dictionary or instance of Params; got {got}; "
        "`make params` writes the file anew",
    ]


def test_a_key_that_stands_twice_is_told_with_its_lines(tmp_path: Path) -> None:
    text = "bpe: {merges: 1}\nprepare:\n  max_words:\n    source: 1\n    target: 2\n    source: 3\nbpe: {}\n"
    told = "of which YAML takes the last; remove one"
    assert refused(saved(tmp_path, text)) == [
        "2 problems",
        f"  bpe: stands in line 1 and again in line 7, {told}",
        f"  prepare.max_words.source: stands in line 4 and again in line 6, {told}",
    ]
    listed = GOOD.replace("archives: []", "archives: [{name: a, name: b}]")
    assert refused(saved(tmp_path, listed))[1].startswith(
        "  corpus.archives.0.name: stands in line 2 and again in line 2"
    )


def test_a_value_of_an_alias_may_be_replaced_and_is_read_once(tmp_path: Path) -> None:
    text = "a: &a {b: 1, c: 2}\nd: {<<: *a, b: 3}\ne: *a\n"
    assert read_yaml(saved(tmp_path, text)) == {
        "a": {"b": 1, "c": 2},
        "d": {"b": 3, "c": 2},
        "e": {"b": 1, "c": 2},
    }


@pytest.mark.parametrize("key", ["1", "true", "no", "null", "2026-01-01", "1.5", "~"])
def test_a_key_that_is_no_text_is_told_with_its_line(tmp_path: Path, key: str) -> None:
    path = saved(tmp_path, GOOD.replace("  clean: {kind", f"  {key}: {{kind"))
    line = f"  noises.{key}: line 10: a key must be text, YAML reads another value; quote it or rename it"
    assert refused(path) == ["1 problem", line]


def test_a_key_that_is_a_section(tmp_path: Path) -> None:
    assert refused(saved(tmp_path, "a:\n  ? {b: 1}\n  : 2"))[1].startswith(
        "  a.(no name): line 2: a key must be text"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a: \0b",
        "a: [1",
        "a: !!python/name:os.system x",
        "a: 2026-13-45",
        f"a: {'9' * 5000}",
        "[" * 5000,
        "a: 1\n---\nb: 2",
    ],
    ids=["nul", "open", "tag", "date", "digits", "deep", "two documents"],
)
def test_what_yaml_cannot_read_is_one_message(tmp_path: Path, text: str) -> None:
    assert refused(saved(tmp_path, text))[0].startswith("not readable as YAML: ")


def test_a_place_that_is_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path) == ["not readable: Is a directory; it must be a file of YAML"]


def test_values_and_keys_of_any_size_make_short_lines(tmp_path: Path) -> None:
    long = GOOD.replace("merges: 4000", f"merges: 0x{'f' * 5000}").replace(
        "license: CC0", f'license: "a\\n{"x" * 9000}"'
    )
    long = long.replace("  del10: {", f'  "two\\nlines{"y" * 900}": {{')
    lines = refused(saved(tmp_path, long))
    assert [line.partition(":")[0].strip()[:30] for line in lines[1:]] == [
        "corpus.license", "bpe.merges", "noises.'two\\nlinesyyyyyyyyyyyyyyy"[:30],
    ]  # fmt: skip
    assert max(map(len, lines)) < 400


def test_a_key_of_two_lines_makes_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path, GOOD.replace("  del10: {", '  "two\\nlines": {'))
    assert [line.partition(":")[0] for line in refused(path)[1:]] == [r"  noises.'two\nlines'"]
