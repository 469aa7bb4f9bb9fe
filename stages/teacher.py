"""`teacher NOISE`: train the teacher on the training text under a noise condition."""

import argparse
from collections.abc import Sequence

from stages import entry  # first: it puts src/ on the path

from nmtkd import grid, machine, params
from nmtkd.models import checkpoints, training
from nmtkd.text.parallel import read_pair
from nmtkd.text.subwords import DICTIONARY


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("noise")
    noise = parser.parse_args(argv).noise
    teacher = params.load("teacher").teacher
    text = grid.noise_dir(noise)
    files = [text / "train.src", text / "train.tgt", grid.BPE / "valid.src", grid.BPE / "valid.tgt", grid.BPE / DICTIONARY]
    data = training.Data(dictionary=files[4], train=read_pair(*files[:2]), valid=read_pair(*files[2:4]))
    key = machine.fingerprint(teacher.model_dump_json(), files + machine.code("nmtkd/models"))
    need = checkpoints.need_bytes(teacher.architecture, teacher.training, data.dictionary)
    with machine.scratch("teacher", key, need) as scratch, machine.whole(grid.teacher_dir(noise)) as out:
        card = training.train(data, teacher.architecture, teacher.training, teacher.seed, scratch, out, stage=f"teacher {noise}")
    print(f"[teacher {noise}] {card['parameters']} parameters, {card['seconds']} s, {card['target_tokens_per_second']} target tokens/s")


if __name__ == "__main__":
    entry(main)
