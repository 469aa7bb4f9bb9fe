"""A forecast as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nmtkd import machine, outputs
from runner import launching, schedule
from runner.forecast import missing
from runner.forecast.cost import Range
from runner.forecast.plan import Forecast
from runner.forecast.work import CHECKPOINTS, KINDS

HOUR = 3600.0  # seconds
DAY = 24 * HOUR  # seconds
UNITS = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"))
DATA = ("corpus", "prepare", "bpe", "noise")


def lines(found: Forecast) -> list[str]:
    """The whole screen."""
    told = [_title(found), "", *_table(found), "", _time(found), *_disk(found), *_memory(found)]
    told += [f"Assumed: {remark}" for remark in found.remarks]
    return told + _missing(found)


def brief(found: Forecast) -> str:
    """A line before a run."""
    left, flops = found.left, _flops(found, found.left)
    parts = [f"{flops} of training"] if flops else []
    parts += [f"about {_span(found.total)}", f"{outputs.size(int(_kept(found, left)))} of disk"]
    stages = f"{len(left)} of {len(found.depends)} stages"
    return f"{stages}: {', '.join(parts)} (`make plan` tells more)"


def figures(found: Forecast) -> dict[str, Any]:
    """What a program reads. Bytes and seconds are those of what is left."""
    return {
        "stages": len(found.depends),
        "left": len(found.left),
        "flops": sum(found.work[stage].flops(found.text) for stage in found.left),
        "seconds": list(found.total),
        "bytes": _kept(found, found.left),
        "scratch_bytes": _scratch(found),
    }


def _title(found: Forecast) -> str:
    corpus, grid, text = found.params.corpus, found.params.grid, found.text
    students = sum(schedule.entry(stage) == "student" for stage in found.depends)
    counted = "counted" if found.known else "as known before it is fetched"
    return (
        f"{corpus.name} {corpus.source}-{corpus.target}, study {found.params.report.study}: teachers "
        f"{len(grid.noises)}, students {students}, capacities {len(grid.capacities)}; "
        f"{text.train:,} pairs of train ({counted})"
    )


def _group(stage: str) -> str:
    """The row of the table that a stage belongs to."""
    entry = schedule.entry(stage)
    if entry == "student":
        return f"student {stage.split('@')[1].split('-')[1]}"
    return "data" if entry in (*DATA, "manifests") else entry


def _table(found: Forecast) -> list[str]:
    rows: dict[str, list[str]] = {}
    for stage in found.depends:
        rows.setdefault(_group(stage), []).append(stage)
    order = ["data", "teacher", "decode", "targets"]
    order += [f"student {name}" for name in found.params.grid.capacities]
    cells = [["", "stages", "done", "parameters", "to train", "time of one", "disk"]]
    for name in (*order, "evaluate", "report"):
        if name in rows:
            cells.append(_row(found, name, rows[name]))
    cells.append(_row(found, "all", list(found.depends)))
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _row(found: Forecast, name: str, stages: Sequence[str]) -> list[str]:
    left = [stage for stage in stages if stage not in found.done]
    model = found.models.get(name.removeprefix("student "))
    kept = _kept(found, stages)
    each = _mean([found.seconds[stage] for stage in left])
    return [
        name,
        str(len(stages)),
        str(len(stages) - len(left)),
        f"{model.parameters:,}" if model else "",
        _flops(found, left),
        _span(each) if each and name != "all" else "",
        outputs.size(int(kept)),
    ]


def _mean(spans: Sequence[Range]) -> Range | None:
    if not spans:
        return None
    return sum(best for best, _ in spans) / len(spans), sum(worst for _, worst in spans) / len(spans)


def _bytes(found: Forecast, stages: Iterable[str], kind: str) -> float:
    return sum(found.work[stage].disk.get(kind, 0.0) for stage in stages)


def _kept(found: Forecast, stages: Iterable[str]) -> float:
    """Bytes that stages leave in the cache."""
    return sum(_bytes(found, stages, kind) for kind in KINDS if kind != CHECKPOINTS)


def _flops(found: Forecast, stages: Iterable[str]) -> str:
    count = sum(found.work[stage].flops(found.text) for stage in stages)
    for unit, name in UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return ""


def _span(span: Range) -> str:
    best, worst = span
    return _clock(best) if best == worst else f"{_clock(best)} to {_clock(worst)}"


def _clock(seconds: float) -> str:
    if seconds < 2 * HOUR:
        return schedule.clock(seconds)
    return f"{seconds / HOUR:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.1f} days"


def _time(found: Forecast) -> str:
    asked, share = found.question, found.assumed.share
    if not found.left:
        return "Time: none; all is done."
    if asked.card:
        return (
            f"Time: {_span(found.total)} on {asked.cards} x {asked.card}, a stage on each: not measured, and "
            f"so a range. Training is assumed to reach {share.least:.0%} to {share.most:.0%} of the card's "
            "peak, and to wait for launches where models are small (conf/forecast.yaml)."
        )
    where = machine.description()
    return (
        f"Time: {_span(found.total)} here, JOBS={asked.jobs}, by speeds just measured "
        f"({where['processor']}, {where['cores']} cores, {where['device']})."
    )


def _disk(found: Forecast) -> list[str]:
    left = found.left
    kinds = [(kind, _bytes(found, left, kind)) for kind in KINDS if kind != CHECKPOINTS]
    told = ", ".join(f"{kind} {outputs.size(int(count))}" for kind, count in kinds if count)
    kept = sum(count for _, count in kinds)
    if not kept:
        return []
    links = (
        "none in the workspace, which is linked"
        if found.linked
        else "as much in the workspace (`dvc config --local cache.type hardlink,copy` links them)"
    )
    return [
        f"Disk: {outputs.size(int(kept))} more in the cache ({told}), {links}, "
        f"{outputs.size(int(_scratch(found)))} of scratch meanwhile."
    ]


def _scratch(found: Forecast) -> float:
    """Bytes of checkpoints at once: the largest ones of as many trainings as run together."""
    sizes = sorted((found.work[stage].disk.get(CHECKPOINTS, 0.0) for stage in found.left), reverse=True)
    return sum(sizes[: found.question.cards if found.question.card else found.question.jobs])


def _training_memory(found: Forecast) -> list[tuple[str, float]]:
    """Of models that have yet to train, by name: bytes on the device that trains them."""
    left = {_group(stage).removeprefix("student ") for stage in found.left}
    models = {name: model for name, model in found.models.items() if name in left}
    return [(name, model.memory(found.text, found.assumed.memory)) for name, model in models.items()]


def _memory(found: Forecast) -> list[str]:
    needed = _training_memory(found)
    if not needed:
        return []
    told = ", ".join(f"{name} {bytes_ / 1e9:.1f}" for name, bytes_ in needed)
    where = found.question.card or machine.device()
    return [f"Memory in training ({where}), GB, about: {told}."]


def _missing(found: Forecast) -> list[str]:
    asked, lacking = found.question, list[str]()
    if "corpus" in found.left:
        lacking += missing.archives(found.params.corpus)
    kept = _kept(found, found.left)
    copies = 1 if found.linked else 2
    lacking += missing.disk(copies * kept + _scratch(found), machine.scratch_root())
    if asked.card:
        lacking += missing.memory(_training_memory(found), found.assumed.cards[asked.card].gb, asked.card)
    else:
        lacking += missing.memory(_training_memory(found), machine.memory_bytes() / 1e9, "this machine")
    if launching.asked() is not None:
        lacking.append("NMTKD_LAUNCH is set: times are those of this host, not of a cluster's nodes")
    return ["Missing: nothing."] if not lacking else [f"Missing: {line}" for line in lacking]
