"""The teacher of a noise condition: trained, or copied from a condition with the same teacher."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from nmtkd import files, processes
from nmtkd.network.command_line import positions_for
from nmtkd.network.fairseq_bridge import Dictionaries, ModelError, member_name
from nmtkd.network.stamps import card_of, stamped_hash
from nmtkd.outputs import Output
from nmtkd.plan import layout
from nmtkd.plan.models import Teacher
from nmtkd.text import provenance, text_form
from nmtkd.text.lines import open_pair
from nmtkd.text.parallel import read_pair
from nmtkd.training import loop
from nmtkd.training import start as warm
from nmtkd.training.criterions.consistency import regularise
from nmtkd.training.criterions.cross_entropy import use_chunked_cross_entropy
from nmtkd.training.texts import Data
from nmtkd.training.trained import Trained, together


def train(noise: str, teacher: Teacher, dictionaries: Dictionaries, output: Output) -> Trained | Path:
    """Trains the teacher of `noise` into `output`, or copies an equal teacher and returns that one's folder.

    Conditions whose teacher sees clean text share one teacher: another training would give the same bytes.
    """
    students = text = files.existing(layout.noise_dir(noise))
    provenance.check_written(
        layout.BPE, [*layout.DICTIONARY_FILES, layout.LENGTHS, *provenance.sides(["valid"])]
    )
    form = text_form.read(layout.BPE)
    if (text / layout.TEACHER_TEXT).exists():
        text = text / layout.TEACHER_TEXT
        # It is to read what its students read, in lines that noise may have made longer.
        form = form.with_lines(*open_pair(students / "train.src", students / "train.tgt"))
    provenance.check_cut(text, layout.BPE)
    bpe = layout.BPE
    paths = [
        text / "train.src",
        text / "train.tgt",
        bpe / "valid.src",
        bpe / "valid.tgt",
        *dictionaries,
        bpe / layout.TEXT,
        bpe / layout.LENGTHS,
    ]
    start = warm.find(teacher.training, dictionaries, "teacher.training")
    settings = teacher.model_dump_json(exclude={"training": {"init"}})  # its content counts, not its place
    settings += f"{positions_for(form.longest)}{start.digest if start else ''}"
    recipe = files.fingerprint(settings, [*paths, layout.manifest("teacher")])
    twin = processes.first_does(lambda: _twin(noise, recipe))
    if twin:
        shutil.copytree(twin, output.path, dirs_exist_ok=True)
        return twin
    data = Data(
        dictionaries=dictionaries,
        form=form,
        train=open_pair(*paths[:2]),
        valid=read_pair(*paths[2:4]),
        lengths=files.read_array(bpe / layout.LENGTHS, "iu", [None, None]).copy(),
    )
    members = [
        _train_member(number, noise, teacher, data, recipe, output, start)
        for number in range(1, len(teacher.seeds) + 1)
    ]
    card: dict[str, Any] = {
        **members[0].card,
        "parameters": sum(member.card["parameters"] for member in members),
        "recipe": recipe,
        "seeds": teacher.seeds,
    }
    card |= {"start": start.card} if start else {}
    trained = together(members, card)
    trained.write_card(output.path)
    return trained


def _train_member(
    number: int,
    noise: str,
    teacher: Teacher,
    data: Data,
    recipe: str,
    output: Output,
    start: warm.Start | None,
) -> Trained:
    """Trains one member of the ensemble; `number` counts from 1."""
    seed, consistency = teacher.seeds[number - 1], teacher.training.consistency
    stage = f"teacher {noise}" if len(teacher.seeds) == 1 else f"teacher {noise}, seed {seed}"
    return loop.train(
        data,
        teacher.architecture,
        teacher.training,
        seed,
        output.scratch("teacher", f"{recipe}-{seed}"),
        output.path,
        stage=stage,
        section="teacher.training",
        adapt=regularise(consistency) if consistency else use_chunked_cross_entropy,
        name=member_name(number),
        start=start.of_member(number, len(teacher.seeds), "teacher.training") if start else None,
    )


def _twin(noise: str, recipe: str) -> Path | None:
    """The folder of another condition's teacher of this recipe, if there is one."""
    siblings = sorted(layout.teacher_dir(noise).parent.glob("[!.]*"))
    return next((folder for folder in siblings if folder.name != noise and made_by(folder, recipe)), None)


def made_by(folder: Path, recipe: str) -> bool:
    """Whether `folder` holds a complete teacher of this recipe. A damaged one is none."""
    try:
        if card_of(folder, "recipe")["recipe"] != recipe:
            return False
        stamped_hash(layout.model_dir(folder))
    except (files.DamagedError, ModelError):
        return False
    return True
