"""`student FAMILY METHOD CAPACITY NOISE [DECODING] SEED`: train one student. Only the family `online` loads the teacher."""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import entry  # first: it puts src/ on the path

import nmtkd_fairseq
from nmtkd import grid, machine, params
from nmtkd.distil import hypotheses, targets
from nmtkd.models import checkpoints, training, validation
from nmtkd.models.fairseq_bridge import HASH, file_hash, members, stamped_hash
from nmtkd.text import subwords
from nmtkd.text.parallel import read_pair, write_json


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=params.FAMILY_SHAPES)
    parser.add_argument("names", nargs="+")
    found = parser.parse_args(argv)
    run = grid.Run.named(found.family, found.names)
    online = ["score"] if params.FAMILY_SHAPES[run.family].teacher else []
    settings = params.load(f"methods.{run.method}", f"capacities.{run.capacity}", "training", *online)
    method = settings.methods[run.method]
    lesson = gather(run, method, settings.score.temperature if online else 1.0)
    with machine.whole(grid.student_dir(run.key)) as out:
        if method.gate and method.gate.kind == "validated":
            card = best_of(run, method, settings, lesson, out)
        else:
            fixed = method.gate.values[0] if method.gate and method.gate.values else None
            card = train(run, method, settings, lesson, out, fixed)
    print(f"[student {run.key}] {card['parameters']} parameters, {card['seconds']} s, {card['target_tokens_per_second']} target tokens/s")


@dataclass(frozen=True)
class Lesson:
    """What a run learns from, checked: text, the files that it came from, and how the teacher enters (nmtkd_fairseq.distil)."""

    data: training.Data
    files: list[Path]
    teaching: dict[str, Any]


def gather(run: grid.Run, method: params.Method, temperature: float) -> Lesson:
    """Reads and checks what the run's family reads."""
    shape = params.FAMILY_SHAPES[run.family]
    text, dictionary = grid.noise_dir(run.noise), grid.BPE / subwords.DICTIONARY
    files = [text / "train.src", text / "train.tgt", grid.BPE / "valid.src", grid.BPE / "valid.tgt", dictionary]
    sources, gold = read_pair(files[0], files[1])
    learnt, translated = gold, None
    teaching: dict[str, Any] = {"temperature": temperature}
    if shape.hypotheses:
        folder = grid.hypotheses_dir(run.noise, run.decoding)
        nbest = hypotheses.read(folder, sources)
        files.append(folder / hypotheses.RECORDS)
        best = [hypotheses.closest(*pair, subwords.join) if method.sequence == "closest" else 0 for pair in zip(nbest, gold, strict=True)]
        translated = [entries[chosen][0] for entries, chosen in zip(nbest, best, strict=True)]
        learnt = gold if shape.targets == "gold" else translated
    if shape.targets:
        folder = grid.targets_dir(run.noise, grid.GOLD if shape.targets == "gold" else run.decoding)
        kept = targets.TokenTargets(folder)
        if shape.hypotheses:
            wanted = hypotheses.read_card(grid.hypotheses_dir(run.noise, run.decoding))["teacher_hash"]
        else:
            wanted = (grid.teacher_dir(run.noise) / HASH).read_text(encoding="utf-8").strip()
        kept.check(dictionary_hash=file_hash(dictionary), teacher_hash=wanted, prefix=learnt)
        teaching |= {"targets": folder, "temperature": kept.header.temperature}
        files.append(folder / targets.HEADER)
    if shape.teacher:
        stamped_hash(grid.teacher_dir(run.noise))
        teaching["teachers"] = members(grid.teacher_dir(run.noise))
        files += teaching["teachers"]
    both = translated if method.gate else None
    data = training.Data(dictionary=dictionary, train=(sources, learnt), valid=read_pair(files[2], files[3]), hypotheses=both)
    return Lesson(data, files, teaching)


def train(run: grid.Run, method: params.Method, settings: params.Params, lesson: Lesson, out: Path, gate: float | None) -> dict[str, Any]:
    """One training, in a scratch folder of its own."""
    architecture, recipe = settings.capacities[run.capacity], settings.training
    config = "\n".join([method.model_dump_json(), architecture.model_dump_json(), recipe.model_dump_json(), str(run), str(gate)])
    config += str(lesson.teaching["temperature"])
    key = machine.fingerprint(config, lesson.files + machine.code("nmtkd", "nmtkd/models", "nmtkd/distil", "nmtkd_fairseq"))
    need = checkpoints.need_bytes(architecture, recipe, lesson.data.dictionary)
    adapt = nmtkd_fairseq.distil(method, architecture, gate=gate, **lesson.teaching) or nmtkd_fairseq.quick
    stage = f"student {run.key}" if gate is None else f"student {run.key}, gate {gate:g}"
    with machine.scratch("student", key, need) as scratch:
        ways: dict[str, Any] = {"stage": stage, "adapt": adapt, "gating": nmtkd_fairseq.gated}
        return training.train(lesson.data, architecture, recipe, run.seed, scratch, out, **ways)


def best_of(run: grid.Run, method: params.Method, settings: params.Params, lesson: Lesson, out: Path) -> dict[str, Any]:
    """A student for each of the gate's values; the one with the best validation BLEU (greedy, all pairs) becomes the run."""
    assert method.gate is not None
    cards = {}
    for value in method.gate.values:
        (out / f"{value:g}").mkdir()
        cards[value] = train(run, method, settings, lesson, out / f"{value:g}", value)
        cards[value]["valid_bleu"] = validation.quality(out / f"{value:g}", lesson.data.valid)
    chosen = max(cards, key=lambda value: cards[value]["valid_bleu"])
    for path in (out / f"{chosen:g}").iterdir():
        shutil.move(path, out / path.name)
    for value in cards:
        shutil.rmtree(out / f"{value:g}")
    tried = {f"{value:g}": round(card["valid_bleu"], 4) for value, card in cards.items()}
    seconds = round(sum(card["seconds"] for card in cards.values()), 1)  # what the choice cost
    card = {**cards[chosen], "seconds": seconds, "gate": chosen, "tried": tried}
    write_json(out / "card.json", card)
    return card


if __name__ == "__main__":
    entry(main)
