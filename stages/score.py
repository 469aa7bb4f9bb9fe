"""`score NOISE PREFIX`: the teacher's distributions along the gold text (PREFIX gold) or along its hypotheses (PREFIX a decoding)."""

import argparse
from collections.abc import Sequence

from stages import entry  # first: it puts src/ on the path

from nmtkd import grid, machine, params
from nmtkd.distil import hypotheses, targets
from nmtkd.models import scoring
from nmtkd.models.fairseq_bridge import file_hash, stamped_hash
from nmtkd.text.parallel import read_pair
from nmtkd.text.subwords import DICTIONARY


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("noise")
    parser.add_argument("prefix")
    names = parser.parse_args(argv)
    settings = params.load("score").score
    text, teacher = grid.noise_dir(names.noise), grid.teacher_dir(names.noise)
    sources, prefix = read_pair(text / "train.src", text / "train.tgt")
    if names.prefix != grid.GOLD:
        prefix = [entries[0][0] for entries in hypotheses.read(grid.hypotheses_dir(names.noise, names.prefix), sources)]
    header = targets.Header(
        top_k=settings.top_k,
        temperature=settings.temperature,
        vocabulary=scoring.vocabulary(teacher),
        dictionary_hash=file_hash(grid.BPE / DICTIONARY),
        teacher_hash=stamped_hash(teacher),
        prefix=names.prefix,
        prefix_hash=targets.text_hash(prefix),
    )
    stage = f"score {names.noise} {names.prefix}"
    with machine.whole(grid.targets_dir(names.noise, names.prefix)) as out:
        writer = targets.Writer(out, [len(line.split()) + 1 for line in prefix], header)
        scored = scoring.distributions(teacher, sources, prefix, settings.top_k, settings.temperature, settings.max_tokens)
        for done, (line, ids, probs) in enumerate(scored, start=1):
            writer.put(line, ids, probs)
            machine.progress(stage, done, len(prefix), "lines scored")
        writer.close()
        size = sum(file.stat().st_size for file in out.iterdir())
    print(f"[{stage}] top {settings.top_k} of {header.vocabulary} tokens, {size / writer.positions:.0f} bytes a token")


if __name__ == "__main__":
    entry(main)
