"""`student FAMILY METHOD CAPACITY NOISE [DECODING] SEED`: train one student. It reads text and token targets, never the teacher."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages import entry  # first: it puts src/ on the path

import nmtkd_fairseq
from nmtkd import grid, machine, params
from nmtkd.distil import hypotheses, targets
from nmtkd.models import checkpoints, training
from nmtkd.models.fairseq_bridge import HASH, file_hash
from nmtkd.text.parallel import read_pair
from nmtkd.text.subwords import DICTIONARY


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=params.FAMILY_SHAPES)
    parser.add_argument("names", nargs="+")
    found = parser.parse_args(argv)
    run = grid.Run.named(found.family, found.names)
    settings = params.load(f"methods.{run.method}", f"capacities.{run.capacity}", "training")
    method, architecture, recipe = settings.methods[run.method], settings.capacities[run.capacity], settings.training
    data, files, adapt = gather(run, method.teacher_weight)
    config = "\n".join([method.model_dump_json(), architecture.model_dump_json(), recipe.model_dump_json(), str(run)])
    key = machine.fingerprint(config, files + machine.code("nmtkd/models", "nmtkd/distil", "nmtkd_fairseq"))
    need = checkpoints.need_bytes(architecture, recipe, data.dictionary)
    with machine.scratch("student", key, need) as scratch, machine.whole(grid.student_dir(run.key)) as out:
        card = training.train(data, architecture, recipe, run.seed, scratch, out, stage=f"student {run.key}", adapt=adapt)
    print(f"[student {run.key}] {card['parameters']} parameters, {card['seconds']} s, {card['target_tokens_per_second']} target tokens/s")


def gather(run: grid.Run, teacher_weight: float) -> tuple[training.Data, list[Path], training.Adapt | None]:
    """What the run learns from, checked; the files that it came from; and how the teacher enters its loss."""
    sequence, distributions = params.FAMILY_SHAPES[run.family]
    text = grid.noise_dir(run.noise)
    files = [text / "train.src", text / "train.tgt", grid.BPE / "valid.src", grid.BPE / "valid.tgt", grid.BPE / DICTIONARY]
    sources, learnt = read_pair(files[0], files[1])
    if sequence == "hypothesis":
        folder = grid.hypotheses_dir(run.noise, run.decoding)
        learnt = [entries[0][0] for entries in hypotheses.read(folder, sources)]
        teacher_hash = hypotheses.read_card(folder)["teacher_hash"]
        files.append(folder / hypotheses.RECORDS)
    adapt = None
    if distributions:
        folder = grid.targets_dir(run.noise, run.decoding)
        if sequence == "gold":
            teacher_hash = (grid.teacher_dir(run.noise) / HASH).read_text(encoding="utf-8").strip()
        kept = targets.TokenTargets(folder)
        kept.check(dictionary_hash=file_hash(grid.BPE / DICTIONARY), teacher_hash=teacher_hash, prefix=learnt)
        adapt = nmtkd_fairseq.distil(folder, teacher_weight, kept.header.temperature)
        files.append(folder / targets.HEADER)
    valid = read_pair(files[2], files[3])
    return training.Data(dictionary=files[4], train=(sources, learnt), valid=valid), files, adapt


if __name__ == "__main__":
    entry(main)
