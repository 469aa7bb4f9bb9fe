"""`noise NOISE`: the training text under a noise condition, as BPE."""

import argparse
from collections.abc import Sequence

from stages import entry, output  # first: it puts src/ on the path

from nmtkd import files
from nmtkd.plan import layout, params
from nmtkd.text import provenance
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
    provenance.check_written(layout.BPE, [layout.CODES, layout.KEPT, layout.LENGTHS])
    provenance.check_encoded(layout.BPE, layout.PREPARED, ["train"])
    with output(layout.noise_dir(name)) as made:
        card = apply(layout.PREPARED, layout.BPE, made.path, settings.noises[name], bounds)
        for folder in (made.path, made.path / layout.TEACHER_TEXT):
            if folder.exists():
                files.write_json(folder / layout.CARD, card | provenance.cut(folder, layout.BPE))
    print(f"[noise] {name}: {card['source']['hit']} source and {card['target']['hit']} target words hit")


if __name__ == "__main__":
    entry(main)
