"""`targets NOISE PREFIX`: the teacher's distributions along gold text, or along its output of a decoding."""

import argparse
from collections.abc import Sequence

from stages import entry, output  # first: it puts src/ on the path

from nmtkd import files, machine, processes
from nmtkd.decoding import scoring
from nmtkd.distil import hypotheses, targets
from nmtkd.network.fairseq_bridge import token_counts
from nmtkd.network.stamps import checked_hash, dictionary_hash
from nmtkd.plan import layout, params
from nmtkd.text.lines import open_pair


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("noise")
    parser.add_argument("prefix")
    args = parser.parse_args(argv)
    settings = params.load("targets").targets
    text, model = layout.noise_dir(args.noise), layout.model_dir(layout.teacher_dir(args.noise))
    files.existing(text)
    hashes = {
        "teacher_hash": checked_hash(model),
        "dictionary_hash": dictionary_hash(model),
    }
    sources, gold = open_pair(text / "train.src", text / "train.tgt")
    prefix: Sequence[str] = gold
    if args.prefix != layout.GOLD:
        said = files.existing(layout.hypotheses_dir(args.noise, args.prefix))
        prefix = hypotheses.Chosen(hypotheses.read(said, sources, **hashes))
    vocabulary = scoring.vocabulary(model)
    top_k = min(settings.top_k, vocabulary)  # a small dictionary is kept whole
    header = targets.Header(
        top_k=top_k,
        temperature=settings.temperature,
        vocabulary=vocabulary,
        prefix=args.prefix,
        prefix_hash=files.lines_hash(prefix),
        **hashes,
    )
    stage = f"targets {args.noise} {args.prefix}"
    with output(layout.targets_dir(args.noise, args.prefix)) as made:
        writer = targets.Writer(made.path, token_counts(prefix), header)
        rows = scoring.distributions(
            model, sources, prefix, top_k, settings.temperature, settings.max_tokens, settings.precision
        )
        for done, (line, ids, probs) in enumerate(rows, start=1):
            writer.put(line, ids, probs)
            of_all = min(done * processes.count(), len(prefix) - 1)  # shares are about equal
            machine.progress(stage, of_all, len(prefix), "lines done")
        size = writer.close()
        machine.progress(stage, len(prefix), len(prefix), "lines done")
    print(f"[{stage}] top {top_k} of {vocabulary} tokens, {size / writer.positions:.0f} bytes a token")


if __name__ == "__main__":
    entry(main)
