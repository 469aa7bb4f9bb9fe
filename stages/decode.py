"""`decode NOISE DECODING`: the teacher's translations of the training source."""

import argparse
from collections.abc import Sequence

from stages import entry, output  # first: it puts src/ on the path

from nmtkd import files, machine
from nmtkd.decoding import lengths, scoring, translate
from nmtkd.decoding.search import Search
from nmtkd.distil import hypotheses
from nmtkd.network.stamps import checked_hash, dictionary_hash
from nmtkd.plan import layout, params
from nmtkd.text import provenance, yardstick
from nmtkd.text.lines import open_pair


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("noise")
    parser.add_argument("decoding")
    args = parser.parse_args(argv)
    stage = f"decode {args.noise} {args.decoding}"
    settings = params.load(f"decodings.{args.decoding}", "targets.max_tokens", *yardstick.READ)
    strategy = settings.decodings[args.decoding]
    folder, model = layout.noise_dir(args.noise), layout.model_dir(layout.teacher_dir(args.noise))
    files.existing(folder)
    provenance.check_written(layout.BPE, [*layout.DICTIONARY_FILES, *provenance.sides(["valid"])])
    teacher = checked_hash(model)
    sources, targets = open_pair(folder / "train.src", folder / "train.tgt")

    def progress(done: int, total: int) -> None:
        machine.progress(stage, done, total, "lines translated")

    tried = lengths.try_teacher(model, strategy, settings, stage)
    search = Search.of(strategy, lengths.choose(tried) if tried else strategy.length_penalties[0])
    with output(layout.hypotheses_dir(args.noise, args.decoding)) as made:
        writer = hypotheses.Writer(made.path, sources, targets)
        if strategy.kind == "forced":
            limit = settings.targets.max_tokens
            for line, text, score in scoring.forced(model, sources, targets, limit, progress):
                writer.put(line, [(text, score)])
        else:
            for line, found in translate.translations(model, sources, search, strategy.engine, progress):
                writer.put(line, [(entry.text, entry.score) for entry in found], truncated=found[0].truncated)
        facts = {
            "decoding": strategy.model_dump(),
            "teacher_hash": teacher,
            "dictionary_hash": dictionary_hash(model),
            "length_penalty": search.length_penalty,
            "validation": {str(penalty): quality.rounded() for penalty, quality in tried.items()},
        }
        card = writer.close(facts)
    counts = ", ".join(f"{card[name]} {name}" for name in ("empty", "truncated", "copied", "equal_to_gold"))
    length = f"{card['length_ratio']:.2f} of gold's length, brevity penalty {card['brevity_penalty']:.2f}"
    print(f"[{stage}] {card['lines']} lines: {counts}; {length}")


if __name__ == "__main__":
    entry(main)
