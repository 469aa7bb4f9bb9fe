"""The stage `report`: what it writes, that no byte depends on the machine, and its last screen."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import report

from nmtkd import files
from nmtkd.evidence import figures
from nmtkd.evidence.results import ResultsError
from nmtkd.plan import layout
from nmtkd.plan.schema import Grid
from tests.unit.evidence import report_tree
from tests.unit.evidence.test_figures import ALWAYS

ROOT = Path(__file__).parent.parent.parent.parent
DATA = {"results.csv", "runs.csv", "adapted.csv", "bleu.csv", "curves.csv", "metrics.json"}
FILES = {*DATA, "table.md", "index.html"}
KEPT = {name: f"studies/homeassistant-lamps/{name}" for name in ("table.md", "results.csv", "runs.csv")}


def write(root: Path, study: Grid, primary: str = "bleu", **settings: Any) -> None:
    """Everything that the stage reads; `settings` are of `report`."""
    report_tree.write(root, study)
    raw: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    raw["report"] |= {"bootstrap_samples": 200, "min_segments": 12, "study": "lamps"} | settings
    raw["evaluate"] |= {"primary": primary}
    (root / "params.yaml").write_text(yaml.safe_dump(raw | {"grid": study.model_dump()}), encoding="utf-8")


def contents() -> dict[str, bytes]:
    """All that the stage wrote, by path."""
    paths = [path for path in Path("reports").rglob("*") if path.is_file()]
    return {
        str(path.relative_to("reports")): path.read_bytes()
        for path in paths
        if not {"runs", "machine"} & set(path.parts)
    }


PNG_FIGURES = figures.PNG_FIGURES


@pytest.fixture(autouse=True)
def no_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing figures once more as PNGs takes a third of the time, and no test but one is of them."""
    monkeypatch.setattr(figures, "PNG_FIGURES", ())


def test_no_byte_depends_on_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report without measurements, with those of a fast machine, and with those of a slow one."""
    monkeypatch.setattr(figures, "PNG_FIGURES", PNG_FIGURES)
    write(tmp_path, report_tree.grid())
    monkeypatch.chdir(tmp_path)
    reports = []
    for rate in (None, 900.0, 3.5):
        if rate:
            report_tree.write_machine(Path(), "teacher-clean", rate, 1000.0 / rate)
            report_tree.write_machine(Path(), "seq-tiny-clean-beam-1", 2 * rate, 500.0 / rate)
        report.main([])
        reports.append(contents())
    assert reports[0] == reports[1] == reports[2]
    pngs = {"figures/bleu_by_capacity.png", "figures/learning_curves.png"}
    assert set(reports[0]) == FILES | {f"figures/{name}.svg" for name in ALWAYS} | pngs | set(KEPT.values())
    assert all(reports[0][copy] == reports[0][name] for name, copy in KEPT.items())


def test_a_small_test_set_has_scores_and_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In no file and on no screen: of one segment more than there are, everything else is the same."""
    told = {}
    for least in (12, 13):
        write(tmp_path / str(least), report_tree.grid(), min_segments=least)
        monkeypatch.chdir(tmp_path / str(least))
        report.main([])
        told[least] = {name: content.decode() for name, content in contents().items() if ".png" not in name}
        told[least]["screen"] = capsys.readouterr().out
    verdict = re.compile(
        r"\[[+-]|>\[|interval \+|score higher|class=gain|0\.0\d\d\b.*\[|95% t-int|Gap closed|Holm's"
    )
    spoken = {
        least: {n for n, text in files.items() if verdict.search(text)} for least, files in told.items()
    }
    assert spoken == {12: {"table.md", KEPT["table.md"], "index.html", "screen"}, 13: set()}
    assert {name: told[12][name] for name in DATA} == {name: told[13][name] for name in DATA}


def test_no_test_score_is_where_choices_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What DVC compares and plots stays the same whatever the test set says."""
    study = report_tree.grid()
    write(tmp_path, study)
    monkeypatch.chdir(tmp_path)
    report.main([])
    before = contents()
    for path in Path("data/translations").glob("*/test.*"):
        path.write_text("\n".join(report_tree.REFERENCES) + "\n", encoding="utf-8")
        key = path.parent.name
        scores = json.loads(layout.scores_file(key).read_text(encoding="utf-8"))["scores"]
        best = [
            one | ({"value": 100.0} if (one["split"], one["metric"]) == ("test", "bleu") else {})
            for one in scores
        ]
        report_tree.edit(Path(), key, {"scores": best})
    report_tree.stamp(Path())
    report.main([])
    after = contents()
    assert {name for name in DATA if before[name] != after[name]} == {"results.csv"}
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    shown = {
        (file, column.replace("${evaluate.primary}", "bleu"))
        for plot in plots
        for one in plot.values()
        for file, column in one["y"].items()
    }
    assert {column.split("_")[0] for _, column in shown} == {"valid"}
    headers = {
        file: after[file.removeprefix("reports/")].decode().split("\n")[0].split(",") for file, _ in shown
    }
    assert all(column in headers[file] for file, column in shown)
    assert list(json.loads(after["metrics.json"])) == ["valid"]


def _row(table: str, column: str) -> str:
    """The cell of `seq` at `tiny`."""
    lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line[:1] == "|"]
    row = next(line for line in lines if line[1:3] == ["seq", "tiny"])
    return row[lines[0].index(column)]


@pytest.mark.parametrize(
    ("primary", "first", "second", "p_holm", "sign"),
    [("bleu", "BLEU", "tok-lc", "1.000", False), ("bleu_tok_lc", "tok-lc", "BLEU", "0.020", True)],
)
def test_the_primary_score_alone_decides(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    primary: str,
    first: str,
    second: str,
    p_holm: str,
    sign: bool,
) -> None:
    """All students write the plain student's text, `seq` better tokens: the verdict hangs on what counts."""
    write(tmp_path, report_tree.grid(), primary)
    monkeypatch.chdir(tmp_path)
    report_tree.same_text(Path(), report_tree.grid(), primary)
    report.main([])
    written = {name: content.decode() for name, content in contents().items() if ".png" not in name}
    table, label = written["table.md"], "tok-lc BLEU" if sign else "BLEU"
    head = table.splitlines()[2]
    assert head.index(f" {first} ") < head.index(f" {second} ")
    assert (_row(table, "BLEU"), _row(table, "tok-lc")) == ("5.0", "44.4")
    assert _row(table, "vs plain") == ("+39.4" if sign else "+0.0")
    assert (_row(table, "p Holm") == p_holm, "2 score higher" in table) == (True, sign)
    assert f"scores 61.8 {label} on `test`" in table
    assert f"{first}: " in table and f"vs plain: {label} minus" in table
    assert f">{label} on test<" in written["figures/bleu_by_capacity.svg"]
    assert written["bleu.csv"].split("\n")[0].endswith(f",valid_{primary}")
    assert f"was chosen by validation {label}." in written["index.html"]
    assert f"</a>: validation {label}, for plots" in written["index.html"]
    plain, seq = (json.loads(written["metrics.json"])["valid"][name]["tiny"] for name in ("plain", "seq"))
    assert (seq > plain) is sign
    points = json.loads(re.findall(r'application/json">(.*?)</script>', written["index.html"])[0])["points"]
    beams = {(one["method"], one["capacity"]): one["bleu"]["beam"] for one in points}
    assert round(beams["seq", "tiny"], 1) == (44.4 if sign else 5.0)
    assert f" {first} " in capsys.readouterr().out


def test_each_segment_has_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, report_tree.grid())
    monkeypatch.chdir(tmp_path)
    Path("data/prepared/test.groups").write_text("lamp\n" * 11, encoding="utf-8")
    report_tree.stamp(Path())
    with pytest.raises(
        ResultsError,
        match=r"data/prepared/test\.groups: names a group for each of the 12 segments; got 11 lines; prepare",
    ):
        report.main([])
    Path("data/prepared/test.groups").write_text("lamp\n" * 6 + "door\n" * 6, encoding="utf-8")
    report_tree.stamp(Path())
    report.main([])
    table = Path("reports/table.md").read_text(encoding="utf-8")
    assert "2 groups are too few for a verdict, which takes 30." in table


def test_bleu_follows_the_target_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one evaluation are the translations whose scores were counted by the tokeniser that params name."""
    write(tmp_path, report_tree.grid())
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["corpus"]["target"] = "th"
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    with pytest.raises(ResultsError, match=r"the translations score .* they are not of one evaluation"):
        report.main([])
    params["evaluate"]["tokenize"] = "13a"
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    report.main([])
    assert "cased, 13a tokeniser" in Path("reports/table.md").read_text(encoding="utf-8")


def test_what_limits_all_scores_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A low ceiling of the corpus, or references so short that even they have no BLEU."""
    study = report_tree.grid(methods=report_tree.methods(seq=["seq"]))
    write(tmp_path / "low", study)
    monkeypatch.chdir(tmp_path / "low")
    card = json.loads(Path("data/prepared/card.json").read_text(encoding="utf-8"))
    card["ceiling"]["test"]["BLEU"] = 93.5
    Path("data/prepared/card.json").write_text(json.dumps(card), encoding="utf-8")
    report.main([])
    monkeypatch.setattr(report_tree, "REFERENCES", ["Das Licht an"] * 12)
    write(tmp_path / "short", study)
    monkeypatch.chdir(tmp_path / "short")
    report.main([])
    for folder, ceiling in (("low", 93.5), ("short", 0.0)):
        for name in ("table.md", "index.html"):
            text = (tmp_path / folder / "reports" / name).read_text(encoding="utf-8")
            assert text.count(f"No model can score more than {ceiling} BLEU") == 2  # lead and notes


def test_the_stage_ends_with_its_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--show` prints the same and writes nothing."""
    write(tmp_path, report_tree.grid())
    monkeypatch.chdir(tmp_path)
    report.main([])
    printed = capsys.readouterr().out
    assert "vs plain" in printed and str(tmp_path / "reports/index.html") in printed
    times = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    report.main(["--show"])
    assert capsys.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == times


@pytest.mark.parametrize("name", ["ref", "groups"])
def test_references_and_groups_are_those_of_the_data_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(tmp_path, report_tree.grid())
    monkeypatch.chdir(tmp_path)
    path = layout.PREPARED / f"test.{name}"
    path.write_text("\0\n" * 12, encoding="utf-8")
    with pytest.raises(
        files.DamagedError, match=rf"^{path}: not the content that was written: its hash is an"
    ):
        report.main([])


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("data/prepared/card.json", "[]", "must hold a JSON object, holds a list"),
        ("data/prepared/card.json", '{"splits": 1}', "lacks ceiling"),
        (
            "data/noise/clean/card.json",
            '{"source": {}, "target": {}}',
            r"no whole card of a noise \(KeyError",
        ),
        ("data/noise/clean/card.json", '{"source": {"words"', r"no whole JSON \(JSONDecodeError"),
    ],
)
def test_a_damaged_card_of_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str, wrong: str
) -> None:
    write(tmp_path, report_tree.grid())
    monkeypatch.chdir(tmp_path)
    Path(path).write_text(text, encoding="utf-8")
    with pytest.raises(files.DamagedError, match=rf"^{path}: {wrong}.*; run `dvc checkout --force {path}`"):
        report.main([])


def test_words_that_noise_changed_are_told_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the page: a row a condition, with its own counts under the columns that name them."""
    write(tmp_path, report_tree.grid(noises=["clean", "del10"], capacities=["tiny"]))
    monkeypatch.chdir(tmp_path)
    hits = {"source": {"words": 8765, "hit": 432}, "target": {"words": 7654, "hit": 321}}
    Path("data/noise/del10/card.json").write_text(json.dumps(hits), encoding="utf-8")
    report.main([])
    page = Path("reports/index.html").read_text(encoding="utf-8")
    table = page[page.index('<th scope="col">noise</th>') :]
    columns = re.findall(r'<th scope="col">([^<]*)</th>', table[: table.index("</thead>")])
    assert columns == ["noise", "source words hit", "source words", "target words hit", "target words"]
    rows = re.findall(r'<th scope="row">(clean|del10)</th>((?:<td>[\d,]*</td>)*)', table)
    assert [(name, re.findall(r"[\d,]+", cells)) for name, cells in rows] == [
        ("clean", ["901", "9,000", "882", "8,800"]),
        ("del10", ["432", "8,765", "321", "7,654"]),
    ]


def test_the_first_test_set_is_judged_at_the_level_of_params(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every text names that level, and that set though others were translated too."""
    write(tmp_path, report_tree.grid(seeds=[1, 2]), confidence=0.99)
    raw = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    raw["corpus"]["tests"] = ["test", "other"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    report.main([])
    table = Path("reports/table.md").read_text(encoding="utf-8")
    page = Path("reports/index.html").read_text(encoding="utf-8")
    assert "99% interval" in table and "A gain or a loss is one where it is below 0.01." in table
    assert "the least p Holm is 0.020; raise report.bootstrap_samples." in table
    assert "with its 99% interval" in page and "bars are 99% t-intervals" in page
    assert "p is below 0.01 after Holm" in page
    for text in (table, page):
        assert "`test`" in text or "<code>test</code>" in text
        assert not re.search(r"95%|below 0\.05|on other\b|`other`|<code>other<", text)


def test_hashes_are_not_shown_among_the_facts_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, report_tree.grid())
    monkeypatch.chdir(tmp_path)
    report.main([])
    page = Path("reports/index.html").read_text(encoding="utf-8")
    assert "sha256" in Path("data/prepared/card.json").read_text(encoding="utf-8")
    assert "sha256" not in page and files.file_hash(layout.PREPARED / "test.ref") not in page
