"""`noise NOISE`: the training text under a noise condition, as BPE."""

import argparse
from collections.abc import Sequence

from stages import entry, output  # first: it puts src/ on the path

from nmtkd import files
from nmtkd.plan import layout, params
from nmtkd.text.noise import apply


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("noise")
    name = parser.parse_args(argv).noise
    settings = params.load(f"noises.{name}", "teacher.training.max_tokens", "training.max_tokens")
    bounds = {
        "teacher.training.max_tokens": settings.teacher.training.max_tokens,
        "training.max_tokens": settings.training.max_tokens,
    }
    with output(layout.noise_dir(name)) as made:
        out = made.path
        card = apply(layout.PREPARED, layout.BPE, out, settings.noises[name], bounds)
        files.write_json(out / layout.CARD, card)
    print(f"[noise] {name}: {card['source']['hit']} source and {card['target']['hit']} target words hit")


if __name__ == "__main__":
    entry(main)
