"""`decode NOISE DECODING`: the teacher's translations of the training source."""

import argparse
from collections.abc import Sequence

from stages import entry  # first: it puts src/ on the path

from nmtkd import files, machine
from nmtkd.decoding import scoring, translate
from nmtkd.decoding.search import Search
from nmtkd.distil import hypotheses
from nmtkd.network.fairseq_bridge import stamped_hash
from nmtkd.plan import layout, params
from nmtkd.text.parallel import read_pair


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("noise")
    parser.add_argument("decoding")
    args = parser.parse_args(argv)
    stage = f"decode {args.noise} {args.decoding}"
    settings = params.load(f"decodings.{args.decoding}", "targets.max_tokens")
    strategy = settings.decodings[args.decoding]
    text, model = layout.noise_dir(args.noise), layout.model_dir(layout.teacher_dir(args.noise))
    sources, targets = read_pair(text / "train.src", text / "train.tgt")

    def progress(done: int, total: int) -> None:
        machine.progress(stage, done, total, "lines translated")

    if strategy.kind == "forced":
        nbest = [
            [line] for line in scoring.forced(model, sources, targets, settings.targets.max_tokens, progress)
        ]
        truncated = 0
    else:
        search = Search(**{name: value for name, value in strategy if name not in ("kind", "engine")})
        translations = translate.translate(model, sources, search, strategy.engine, progress)
        nbest = [[(hypothesis.text, hypothesis.score) for hypothesis in entries] for entries in translations]
        truncated = sum(entries[0].truncated for entries in translations)
    facts = {
        "decoding": strategy.model_dump(),
        "teacher_hash": stamped_hash(model),
        "dictionary_hash": files.file_hash(layout.BPE / layout.DICTIONARY),
        "equal_to_gold": sum(entries[0][0] == target for entries, target in zip(nbest, targets, strict=True)),
    }
    with files.written_whole(layout.hypotheses_dir(args.noise, args.decoding)) as out:
        card = hypotheses.write(out, sources, nbest, truncated, facts)
    counts = ", ".join(f"{card[name]} {name}" for name in ("empty", "truncated", "copied", "equal_to_gold"))
    print(f"[{stage}] {card['lines']} lines: {counts}")


if __name__ == "__main__":
    entry(main)
