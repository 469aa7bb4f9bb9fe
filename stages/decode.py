"""`decode NOISE DECODING`: the teacher's translations of the training source."""

import argparse
from collections.abc import Sequence

from stages import entry  # first: it puts src/ on the path

from nmtkd import grid, machine, params
from nmtkd.distil import hypotheses
from nmtkd.models import decoding, scoring
from nmtkd.models.fairseq_bridge import file_hash, stamped_hash
from nmtkd.text.parallel import read_pair
from nmtkd.text.subwords import DICTIONARY


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("noise")
    parser.add_argument("decoding")
    names = parser.parse_args(argv)
    settings = params.load(f"decodings.{names.decoding}", "score")
    strategy = settings.decodings[names.decoding]
    text, teacher = grid.noise_dir(names.noise), grid.teacher_dir(names.noise)
    sources, targets = read_pair(text / "train.src", text / "train.tgt")

    def progress(done: int, total: int) -> None:
        machine.progress(f"decode {names.noise} {names.decoding}", done, total, "lines translated")

    if strategy.kind == "forced":
        nbest = [[entry] for entry in scoring.forced(teacher, sources, targets, settings.score.max_tokens, progress)]
        truncated = 0
    else:
        search = decoding.Search(**{name: value for name, value in strategy if name not in ("kind", "engine")})
        found = decoding.translate(teacher, sources, search, strategy.engine, progress)
        nbest = [[(hypothesis.text, hypothesis.score) for hypothesis in entries] for entries in found]
        truncated = sum(entries[0].truncated for entries in found)
    facts = {
        "decoding": strategy.model_dump(),
        "teacher_hash": stamped_hash(teacher),
        "dictionary_hash": file_hash(grid.BPE / DICTIONARY),
        "equal_to_gold": sum(entries[0][0] == target for entries, target in zip(nbest, targets, strict=True)),
    }
    with machine.whole(grid.hypotheses_dir(names.noise, names.decoding)) as out:
        card = hypotheses.write(out, sources, nbest, truncated, facts)
    counts = ", ".join(f"{card[name]} {name}" for name in ("empty", "truncated", "copied", "equal_to_gold"))
    print(f"[decode {names.noise} {names.decoding}] {card['lines']} lines: {counts}")


if __name__ == "__main__":
    entry(main)
