"""`evaluate teacher NOISE` or `evaluate FAMILY METHOD CAPACITY NOISE [DECODING] SEED`: translate the held-out sets and score them."""

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages import entry  # first: it puts src/ on the path

import nmtkd_fairseq  # noqa: F401  makes fairseq know gated models
from nmtkd import grid, machine, params
from nmtkd.evidence.metrics import score
from nmtkd.models import decoding
from nmtkd.models.fairseq_bridge import members
from nmtkd.text import subwords, words
from nmtkd.text.parallel import read_lines, write_json, write_lines


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=["teacher", *params.FAMILY_SHAPES])
    parser.add_argument("names", nargs="+")
    found = parser.parse_args(argv)
    settings = params.load("corpus", "prepare.long_words", "evaluate")
    if found.family == "teacher":
        (noise,) = found.names
        folder, key = grid.teacher_dir(noise), grid.teacher_key(noise)
        facts: dict[str, Any] = {
            "role": "teacher",
            "method": "teacher",
            "capacity": "teacher",
            "noise": noise,
            "decoding": grid.NONE,
            "seed": 0,
        }
    else:
        run = grid.Run.named(found.family, found.names)
        folder, key, facts = grid.student_dir(run.key), run.key, {"role": "student", **run.facts()}
    with machine.whole(grid.translations_dir(key)) as out:
        result = evaluate(folder, key, settings, out)
    corpus = settings.corpus
    result.update(facts, key=key, corpus=corpus.name, pair=f"{corpus.source}-{corpus.target}")
    grid.RUNS.mkdir(parents=True, exist_ok=True)
    write_json(grid.result_file(key), result)
    shown = {
        entry["search"]: entry["value"] for entry in result["scores"] if (entry["split"], entry["metric"]) == (corpus.tests[0], "bleu")
    }
    print(f"[evaluate {key}] BLEU on {corpus.tests[0]}: {shown['beam']:.2f} by beam, {shown['greedy']:.2f} greedy")


def evaluate(folder: Path, key: str, settings: params.Params, out: Path) -> dict[str, Any]:
    """Scores of a model on all held-out sets by beam and greedy, its size and its speed; translations go to `out`."""
    scores, speed = [], []
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    for name, beam in (("beam", settings.evaluate.beam), ("greedy", 1)):
        search = decoding.Search(beam=beam, **settings.evaluate.model_dump(exclude={"engine", "beam"}))
        seconds, lines = 0.0, 0
        for split in ("valid", *settings.corpus.tests):
            sources = read_lines(grid.BPE / f"{split}.src")
            start = time.monotonic()
            found = decoding.translate(folder, sources, search, settings.evaluate.engine)
            seconds, lines = seconds + time.monotonic() - start, lines + len(sources)
            tokens = [subwords.join(hypotheses[0].text) for hypotheses in found]
            scores += judge(split, name, tokens, settings, out)
            machine.progress(f"evaluate {key}", len(scores), len(scores), f"scores, {split} by {name} done")
        speed.append({"search": name, "sentences_per_second": round(lines / seconds, 1)})
    training = {name: card[name] for name in ("updates", "seconds", "target_tokens_per_second")}
    size = sum(path.stat().st_size for path in members(folder))
    shutil.copy(folder / "curve.csv", out / "curve.csv")  # beside the translations, so that the report depends on no model
    told = {name: card[name] for name in ("gates", "gate", "tried", "seeds") if name in card}  # of gated, hybrid and ensemble models
    return {"parameters": card["parameters"], "model_bytes": size, "training": training, "scores": scores, "speed": speed, **told}


def judge(split: str, search: str, tokens: list[str], settings: params.Params, out: Path) -> list[dict[str, Any]]:
    """Scores of one set, and of its long segments beside it; the translations as text go to a file."""
    names = [json.loads(line) for line in read_lines(grid.PREPARED / f"{split}.names")]
    text = [words.unmask(words.detokenise(line, settings.corpus.target), known) for line, known in zip(tokens, names, strict=True)]
    write_lines(out / f"{split}.{search}", text)
    sources = read_lines(grid.PREPARED / f"{split}.raw")
    references = read_lines(grid.PREPARED / f"{split}.ref")
    gold = read_lines(grid.PREPARED / f"{split}.tgt")
    bound = settings.prepare.long_words
    found = []
    for name, least in ((split, 0), (f"{split}_long", bound)) if bound and split != "valid" else ((split, 0),):
        chosen = [i for i, source in enumerate(sources) if len(source.split()) >= least]
        picked = [[side[i] for i in chosen] for side in (text, references, tokens, gold)]
        entries = score(picked[0], picked[1], tokenised_hypotheses=picked[2], tokenised_references=picked[3])
        found += [{"split": name, "search": search, **entry} for entry in entries]
    return found


if __name__ == "__main__":
    entry(main)
