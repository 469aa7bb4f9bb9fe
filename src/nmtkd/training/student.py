"""One student: its checked inputs, its training, and the choice of a validated gate's value."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nmtkd import files, processes
from nmtkd.distil import hypotheses, targets
from nmtkd.network.fairseq_bridge import Dictionaries, members
from nmtkd.network.stamps import checked_hash, stamp
from nmtkd.outputs import Output
from nmtkd.plan import layout
from nmtkd.plan.methods import FAMILIES, Method
from nmtkd.plan.models import Architecture, Training
from nmtkd.plan.runs import Run
from nmtkd.text import provenance, text_form
from nmtkd.text.lines import open_pair
from nmtkd.text.parallel import read_pair
from nmtkd.training import loop, options, validation
from nmtkd.training import start as warm
from nmtkd.training.texts import Data
from nmtkd.training.trained import Trained, together


@dataclass(frozen=True, kw_only=True)
class Material:
    """A run's checked inputs: text, the files it came from, and the teacher's output or model."""

    data: Data
    paths: list[Path]
    temperature: float
    targets: Path | None = None
    teachers: Sequence[Path] = ()


def gather(run: Run, method: Method, temperature: float, dictionaries: Dictionaries) -> Material:
    """Reads and checks the inputs of the run's family.

    `temperature` is for a teacher in memory; stored targets have their own. `dictionaries` are of the source
    and of the target. Raises
    hypotheses.HypothesesError, targets.TargetsError or bridge.ModelError if an input belongs to another text,
    dictionary or teacher, files.DamagedError if it is not the content that its stage wrote.
    """
    family = FAMILIES[run.family]
    text = files.existing(layout.noise_dir(run.noise))
    read = [*layout.DICTIONARY_FILES, layout.LENGTHS, *provenance.sides(["valid"])]
    provenance.check_written(layout.BPE, read)
    provenance.check_cut(text, layout.BPE)
    paths = [
        text / "train.src",
        text / "train.tgt",
        layout.BPE / "valid.src",
        layout.BPE / "valid.tgt",
        *dictionaries,
        layout.BPE / layout.TEXT,
        layout.BPE / layout.LENGTHS,
    ]
    sources, gold = open_pair(paths[0], paths[1])
    train_target: Sequence[str] = gold
    translations: Sequence[str] | None = None
    if family.hypotheses:
        translations, path = _translations(run, method, sources, gold, dictionaries)
        paths.append(path)
        train_target = gold if family.targets == "gold" else translations
    data = Data(
        dictionaries=dictionaries,
        form=text_form.read(layout.BPE),
        train=(sources, train_target),
        valid=read_pair(paths[2], paths[3]),
        lengths=files.read_array(layout.BPE / layout.LENGTHS, "iu", [None, None]).copy(),
        hypotheses=translations if method.gate else None,
    )
    material = Material(data=data, paths=paths, temperature=temperature)
    if family.targets:
        stored = _stored_targets(run, train_target, dictionaries)
        material = replace(
            material,
            temperature=stored.header.temperature,
            targets=stored.folder,
            paths=[*material.paths, stored.folder / targets.HEADER],
        )
    if family.teacher:
        folder = layout.model_dir(layout.teacher_dir(run.noise))
        checked_hash(folder, [dictionaries])
        material = replace(material, teachers=members(folder), paths=[*material.paths, *members(folder)])
    return material


def _translations(
    run: Run, method: Method, sources: Sequence[str], gold: Sequence[str], dictionaries: Dictionaries
) -> tuple[Sequence[str], Path]:
    """The translation of each line that the method selects, and the file with all hypotheses."""
    folder = layout.hypotheses_dir(run.noise, run.decoding)
    nbest = hypotheses.read(folder, sources, **_at_hand(run, dictionaries))
    entries = None
    if method.sequence == "closest":
        pairs = zip(nbest, gold, strict=True)
        entries = np.fromiter((hypotheses.closest(found, reference) for found, reference in pairs), np.int32)
    return hypotheses.Chosen(nbest, entries), folder / hypotheses.RECORDS


def _stored_targets(
    run: Run, train_target: Sequence[str], dictionaries: Dictionaries
) -> targets.TokenTargets:
    """The token targets along `train_target`, checked."""
    family = FAMILIES[run.family]
    prefix = layout.GOLD if family.targets == "gold" else run.decoding
    stored = targets.TokenTargets(layout.targets_dir(run.noise, prefix))
    stored.check(**_at_hand(run, dictionaries), prefix=train_target)
    return stored


def _at_hand(run: Run, dictionaries: Dictionaries) -> dict[str, str]:
    """Hashes of the teacher and the target dictionary that the teacher's output must be of."""
    return {
        "teacher_hash": stamp(layout.model_dir(layout.teacher_dir(run.noise))),
        "dictionary_hash": files.file_hash(dictionaries[1]),
    }


def train(
    run: Run,
    method: Method,
    architecture: Architecture,
    training: Training,
    material: Material,
    output: Output,
) -> Trained:
    """Trains the run's student into `output` and writes its card."""
    if method.gate and method.gate.kind == "validated":
        trained = best_of(method.gate.values, run, method, architecture, training, material, output)
    else:
        fixed = method.gate.values[0] if method.gate and method.gate.values else None
        trained = _train_one(run, method, architecture, training, material, output, output.path, fixed)
    trained.write_card(output.path)
    return trained


def best_of(
    values: Sequence[float],
    run: Run,
    method: Method,
    architecture: Architecture,
    training: Training,
    material: Material,
    output: Output,
) -> Trained:
    """Trains a student per gate value and keeps the one with the best validation BLEU (greedy, all pairs)."""
    students: dict[float, Trained] = {}
    scores: dict[float, float] = {}
    out = output.path
    for value in values:
        folder = out / f"{value:g}"
        folder.mkdir()
        students[value] = _train_one(run, method, architecture, training, material, output, folder, value)
        if processes.first():
            model = layout.model_dir(folder)
            scores[value] = validation.quality(model, material.data.valid, material.data.form)
    if not processes.first():
        return together(list(students.values()), {})
    chosen = max(scores, key=lambda value: scores[value])
    for path in (out / f"{chosen:g}").iterdir():
        shutil.move(path, out / path.name)
    for value in values:
        shutil.rmtree(out / f"{value:g}")
    tried = {f"{value:g}": round(score, 4) for value, score in scores.items()}
    card = {**students[chosen].card, "gate": chosen, "tried": tried, "valid_bleu": scores[chosen]}
    return together(list(students.values()), card)


def _train_one(
    run: Run,
    method: Method,
    architecture: Architecture,
    training: Training,
    material: Material,
    output: Output,
    folder: Path,
    gate: float | None,
) -> Trained:
    """One training, into `folder`. The key of its scratch space hashes all that decides its result."""
    # Of a start its content counts, not its place.
    start = warm.find(training, material.data.dictionaries, "training")
    recipe = training.model_dump_json(exclude={"init"})
    parts: list[Any] = [method.model_dump_json(), architecture.model_dump_json(), recipe]
    parts += [run, gate, material.temperature, start.digest if start else ""]
    key = files.fingerprint("\n".join(map(str, parts)), [*material.paths, layout.manifest("student")])
    adapt = options.distil(
        run.family,
        method,
        architecture,
        targets=material.targets,
        teachers=material.teachers,
        temperature=material.temperature,
        gate=gate,
    )
    stage = f"student {run.key}" if gate is None else f"student {run.key}, gate {gate:g}"
    scratch = output.scratch("student", key)
    trained = loop.train(
        material.data,
        architecture,
        training,
        run.seed,
        scratch,
        folder,
        stage=stage,
        adapt=adapt,
        start=start.of_member(1, 1, "training") if start else None,
    )
    return replace(trained, card={**trained.card, "start": start.card}) if start else trained
