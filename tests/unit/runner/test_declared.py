"""runner.declared: what dvc.yaml declares for a command. tests/structure holds it against DVC itself."""

from pathlib import Path

import pytest

from runner.declared import ABSENT, Declared, declared, lookup

PIPELINE = """
stages:
  corpus: {cmd: python -m stages.corpus, params: [corpus], deps: ["${corpus.folder}"], outs: [raw]}
  noise:
    matrix: {noise: "${grid.noises}"}
    cmd: python -m stages.noise ${key}
    params: ["noises.${key}", training.max_tokens]
    deps: ["data/${item.noise}"]
  decode:
    matrix: {noise: "${grid.noises}", decoding: "${grid.decodings}"}
    cmd: python -m stages.decode ${item.noise} ${item.decoding}
    params: ["decodings.${item.decoding}"]
    deps: [data/bpe, "data/noise/${item.noise}", "data/${key}"]
  student:
    matrix: {method: "${grid.methods}", capacity: "${grid.capacities}", noise: "${grid.noises}", seed: [1]}
    cmd: python -m stages.student word ${key}
    params: ["methods.${item.method}", "capacities.${item.capacity}", training]
    deps: ["data/noise/${item.noise}"]
"""
PARAMS = {"corpus": {"folder": "/data/mine"}}


@pytest.fixture(autouse=True)
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "params", "deps"),
    [
        ("corpus", ["corpus"], ["/data/mine"]),
        ("noise del10", ["noises.del10", "training.max_tokens"], ["data/del10"]),
        (
            "decode del10 beam",
            ["decodings.beam"],
            ["data/bpe", "data/noise/del10", "data/del10-beam"],
        ),
        (
            "student word word_js-tiny-clean-1",
            ["methods.word_js", "capacities.tiny", "training"],
            ["data/noise/clean"],
        ),
    ],
)
def test_declared_is_what_the_stage_of_a_command_declares(
    command: str, params: list[str], deps: list[str]
) -> None:
    found = declared(f"python -m stages.{command}", PARAMS)
    assert found == Declared(tuple(params), tuple(map(Path, deps)))


@pytest.mark.parametrize("command", ["report --show", "student seq a-b-c-1", "decode clean", "noise a b"])
def test_command_of_no_stage_declares_nothing(command: str) -> None:
    assert declared(f"python -m stages.{command}", PARAMS) is None


def test_folder_without_a_pipeline_declares_nothing(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").unlink()
    assert declared("python -m stages.corpus", PARAMS) is None


def test_lookup_is_by_dotted_names() -> None:
    params = {"a": {"b": {"c": None, "d": 0}}}
    assert lookup(params, "a.b.d") == 0 and lookup(params, "a.b.c") is None
    assert lookup(params, "a") == {"b": {"c": None, "d": 0}}
    assert lookup(params, "a.x") == lookup(params, "a.b.d.e") == lookup({}, "a") == ABSENT
