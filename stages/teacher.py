"""`teacher NOISE`: train the teacher on the training text under a noise condition; with several seeds, an ensemble."""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages import entry  # first: it puts src/ on the path

import nmtkd_fairseq
from nmtkd import grid, machine, params
from nmtkd.models import checkpoints, training
from nmtkd.models.fairseq_bridge import HASH, member_name, model_hash
from nmtkd.text.noise import TEACHER_TEXT
from nmtkd.text.parallel import read_pair, write_json
from nmtkd.text.subwords import DICTIONARY


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("noise")
    noise = parser.parse_args(argv).noise
    teacher = params.load("teacher").teacher
    text = grid.noise_dir(noise)
    text = text / TEACHER_TEXT if (text / TEACHER_TEXT).exists() else text
    files = [text / "train.src", text / "train.tgt", grid.BPE / "valid.src", grid.BPE / "valid.tgt", grid.BPE / DICTIONARY]
    data = training.Data(dictionary=files[4], train=read_pair(*files[:2]), valid=read_pair(*files[2:4]))
    recipe = machine.fingerprint(teacher.model_dump_json(), files + machine.code("nmtkd", "nmtkd/models", "nmtkd/distil", "nmtkd_fairseq"))
    with machine.whole(grid.teacher_dir(noise)) as out:
        # Conditions whose teacher sees clean text share one teacher: where it stands already, training again would give the same bytes.
        twins = [folder for folder in sorted(out.parent.glob("[!.]*")) if folder.name != noise and made_by(folder, recipe)]
        if twins:
            shutil.copytree(twins[0], out, dirs_exist_ok=True)
            print(f"[teacher {noise}] the same as {twins[0]}: copied")
            return
        card: dict[str, Any] = {}
        need = checkpoints.need_bytes(teacher.architecture, teacher.training, data.dictionary)
        for number, seed in enumerate(teacher.seeds, start=1):
            stage = f"teacher {noise}" if len(teacher.seeds) == 1 else f"teacher {noise}, seed {seed}"
            with machine.scratch("teacher", f"{recipe}-{seed}", need) as scratch:
                one = training.train(
                    data,
                    teacher.architecture,
                    teacher.training,
                    seed,
                    scratch,
                    out,
                    stage=stage,
                    adapt=nmtkd_fairseq.regularise(teacher.training.consistency) or nmtkd_fairseq.quick,
                    name=member_name(number),
                )
            card = one if not card else {**card, **{name: card[name] + one[name] for name in ("parameters", "seconds")}}
        write_json(out / "card.json", {**card, "recipe": recipe, "seeds": teacher.seeds})
    print(f"[teacher {noise}] {card['parameters']} parameters, {card['seconds']} s, {card['target_tokens_per_second']} target tokens/s")


def made_by(folder: Path, recipe: str) -> bool:
    """Whether a whole teacher stands there that this recipe made."""
    card, stamp = folder / "card.json", folder / HASH
    if not card.exists() or json.loads(card.read_text(encoding="utf-8")).get("recipe") != recipe:
        return False
    return stamp.read_text(encoding="utf-8").strip() == model_hash(folder)


if __name__ == "__main__":
    entry(main)
