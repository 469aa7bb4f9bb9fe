"""`teacher NOISE`: train the teacher under a noise condition; with several seeds, an ensemble."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from stages import entry, output  # first: it puts src/ on the path

from nmtkd.plan import layout, params
from nmtkd.training import teacher


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("noise")
    noise = parser.parse_args(argv).noise
    settings = params.load("architecture", "teacher")
    dictionaries = layout.DICTIONARIES[settings.architecture.embeddings]
    with output(layout.teacher_dir(noise)) as out:
        trained = teacher.train(noise, settings.teacher, dictionaries, out)
    if isinstance(trained, Path):
        print(f"[teacher {noise}] the same as {trained}: copied")
    else:
        cost = trained.record(layout.teacher_key(noise), layout.teacher_dir(noise))
        print(f"[teacher {noise}] {cost}")


if __name__ == "__main__":
    entry(main)
