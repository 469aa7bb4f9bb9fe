"""`student FAMILY KEY`: train one student; KEY is METHOD-CAPACITY-NOISE[-DECODING]-SEED."""

import argparse
from collections.abc import Sequence

from stages import entry, output  # first: it puts src/ on the path

from nmtkd.plan import layout, params
from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.runs import Run
from nmtkd.training import student


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("key")
    args = parser.parse_args(argv)
    run = Run.from_key(args.family, args.key)
    online = ["targets.temperature"] if FAMILIES[run.family].teacher else []
    settings = params.load(
        f"methods.{run.method}", f"capacities.{run.capacity}", "architecture", "training", *online
    )
    method, architecture = settings.methods[run.method], settings.capacities[run.capacity]
    temperature = settings.targets.temperature if online else 1.0
    dictionaries = layout.DICTIONARIES[settings.architecture.embeddings]
    material = student.gather(run, method, temperature, dictionaries)
    with output(layout.student_dir(run.key)) as out:
        trained = student.train(run, method, architecture, settings.training, material, out)
    print(f"[student {run.key}] {trained.record(run.key, layout.student_dir(run.key))}")


if __name__ == "__main__":
    entry(main)
