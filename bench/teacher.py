"""What the teacher writes: translations beside fairseq-generate, token targets beside its own forward pass.

    python bench/teacher.py [--model FOLDER] [--data FOLDER] [--lines N] [--rounds N]    # after `dvc repro`

Decoding: seconds of the search itself as each program counts them, start-up and reading left out. fairseq
counts end mark and padding into the source length that limits an output: what never ends goes on a little
longer there, and is the same up to our limit.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

LINES = 3000  # of the training text, evenly spread
FACTOR, OFFSET = 2.0, 10  # longest output, as in conf/config.yaml
BATCH = 4096  # source tokens a batch, both sides
SCORED = 8192  # target tokens a batch of the scoring pass, as in conf/config.yaml


def text(data: Path, lines: int) -> list[list[str]]:
    """Source and target lines."""
    from nmtkd.text.parallel import read_pair

    sides = read_pair(*(data / "noise" / "clean" / f"train.{side}" for side in ("src", "tgt")))
    return [[side[number * len(side) // lines] for number in range(lines)] for side in sides]


def generate(model: Path, data: Path, lines: int, beam: int) -> dict[str, Any]:
    """fairseq-generate as installed."""
    from nmtkd import machine
    from nmtkd.network import fairseq_bridge as bridge
    from nmtkd.plan import layout

    with tempfile.TemporaryDirectory() as folder:
        source, target = text(data, lines)
        bridge.write_data(Path(folder), (data / "bpe" / "dict.txt",) * 2, {"test": (source, target)})
        command = [
            folder,
            "--path",
            str(model / layout.MODEL),
            "--beam",
            str(beam),
            "--max-len-a",
            str(FACTOR),
            "--max-len-b",
            str(OFFSET),
        ]
        command += [
            "--max-tokens",
            str(BATCH),
            "--source-lang",
            bridge.SOURCE,
            "--target-lang",
            bridge.TARGET,
            "--cpu",
        ]
        environment = {
            **os.environ,
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
            "OMP_NUM_THREADS": str(machine.threads()),
        }
        start = time.monotonic()
        program = [sys.executable, "-c", "import fairseq_cli.generate as g; g.cli_main()", *command]
        done = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
        whole = time.monotonic() - start
    said = re.search(r"Translated ([\d,]+) sentences .*? in ([\d.]+)s", done.stdout + done.stderr)
    assert said is not None, "fairseq-generate told no time"
    found = {int(m[1]): m[2] for m in re.finditer(r"^H-(\d+)\t[^\t]*\t(.*)$", done.stdout, re.MULTILINE)}
    return {
        "seconds": float(said[2]) * lines / int(said[1].replace(",", "")),
        "whole": whole,
        "outputs": [found.get(i, "") for i in range(lines)],
    }


def translate(model: Path, data: Path, lines: int, beam: int) -> dict[str, Any]:
    """nmtkd.decoding.translate. Converting the model is start-up, as loading is for the other side.

    The first line's translation converts it.
    """
    from nmtkd.decoding.search import Search
    from nmtkd.decoding.translate import translate as translated

    search = Search(
        beam=beam, nbest=beam, length_penalty=1.0, max_length_factor=FACTOR, max_length_offset=OFFSET
    )
    source, _ = text(data, lines)
    translated(model, source[:1], search, "ctranslate2")
    start = time.monotonic()
    found = translated(model, source, search, "ctranslate2")
    return {
        "seconds": time.monotonic() - start,
        "whole": time.monotonic() - harness.BEGUN,
        "outputs": [entries[0].text for entries in found],
    }


def products(model: Path, data: Path, outputs: list[str], beam: int) -> float:
    """MFLOP of products a sentence, at least: `beam` steps for each token of the best output, no padding."""
    from nmtkd.network import fairseq_bridge as bridge

    loaded = bridge.load_model(model, "cpu").model
    width, words = loaded.decoder.output_projection.weight.T.shape
    inner, depth = loaded.decoder.layers[0].fc1.out_features, len(loaded.decoder.layers)
    total = 0.0
    for line, output in zip(text(data, len(outputs))[0], outputs, strict=True):
        source, steps = len(line.split()) + 1, len(output.split()) + 1
        encoder = (
            source * len(loaded.encoder.layers) * (4 * width**2 + 2 * width * inner + 2 * source * width)
        )
        memory = 2 * source * depth * width**2
        step = depth * (6 * width**2 + 2 * width * inner + 2 * width * source) + words * width
        total += encoder + memory + beam * (steps * step + depth * width * steps * (steps + 1))
    return 2 * total / len(outputs) / 1e6


def forward(model: Path, data: Path, lines: int) -> float:
    """Seconds of fairseq's own forward pass over the text, in the batches of `targets`, without start-up."""
    import torch

    from nmtkd import machine
    from nmtkd.network import fairseq_bridge as bridge

    machine.keep_freed_memory()
    torch.set_num_threads(machine.threads())
    loaded = bridge.load_model(model, "cpu")
    dataset = bridge.pairs(loaded, *text(data, lines))
    start = time.monotonic()
    with torch.no_grad():
        for batch in bridge.batches(dataset, SCORED):
            loaded.model(**bridge.collate(dataset, batch, "cpu")["net_input"])
    return time.monotonic() - start


def write(model: Path, data: Path, lines: int, precision: str = "float32") -> dict[str, float]:
    """Seconds for token targets of the same text, less those for one line (start-up), and bytes a token."""
    from nmtkd.decoding import scoring
    from nmtkd.distil import targets
    from nmtkd.plan.params import load

    top_k = load("targets").targets.top_k
    source, target = text(data, lines)
    found = {}
    for count in (1, lines):
        names = dict.fromkeys(("dictionary_hash", "teacher_hash", "prefix", "prefix_hash"), "x")
        header = targets.Header(top_k=top_k, temperature=1.0, vocabulary=scoring.vocabulary(model), **names)
        with tempfile.TemporaryDirectory() as folder:
            start = time.monotonic()
            writer = targets.Writer(Path(folder), [len(line.split()) + 1 for line in target[:count]], header)
            for line, ids, probs in scoring.distributions(
                model, source[:count], target[:count], top_k, 1.0, SCORED, precision
            ):
                writer.put(line, ids, probs)
            writer.close()
            found[count] = time.monotonic() - start
            size = sum(path.stat().st_size for path in Path(folder).iterdir()) / writer.positions
    return {"seconds": found[lines] - found[1], "bytes": size}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", choices=["generate", "translate", "forward", "write"])
    parser.add_argument("--model", type=Path, default=harness.ROOT / "models" / "teacher" / "clean" / "model")
    parser.add_argument("--data", type=Path, default=harness.ROOT / "data")
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", default="teacher", help="under which the rows are kept")
    asked = parser.parse_args()
    given = asked.model, asked.data, asked.lines
    if asked.side in ("generate", "translate"):
        harness.result(**{"generate": generate, "translate": translate}[asked.side](*given, asked.beam))
    elif asked.side == "forward":
        harness.result(seconds=forward(*given))
    elif asked.side == "write":
        harness.result(**write(*given))
    else:
        compare(asked)


def compare(asked: argparse.Namespace) -> None:
    """All rows."""
    options = ["--model", str(asked.model), "--data", str(asked.data), "--lines", str(asked.lines)]
    rows, facts = [], {}
    for beam, goal in ((5, ">= 4"), (1, ">= 6")):
        sides = {
            name: harness.side(__file__, name, *options, "--beam", str(beam))
            for name in ("translate", "generate")
        }
        found = harness.pairs(sides, asked.rounds, quiet=True)
        outputs = found["translate"][0]["outputs"], found["generate"][0]["outputs"]
        same = sum(one == other for one, other in zip(*outputs, strict=True))
        facts[f"products at beam {beam}"] = (
            f"{products(asked.model, asked.data, outputs[0], beam):.0f} MFLOP a sentence"
        )
        limits = [int(FACTOR * len(line.split())) + OFFSET for line in text(asked.data, asked.lines)[0]]
        cut = sum(
            other.startswith(f"{one} ") and len(one.split()) == most
            for one, other, most in zip(*outputs, limits, strict=True)
        )
        what = f"decoding, beam {beam}" if beam > 1 else "decoding, greedy"
        note = f"{same:,} of {asked.lines:,} outputs identical" + (
            f", {cut:,} end sooner at our limit" if cut else ""
        )
        for clock, named, wanted in (("seconds", what, goal), ("whole", f"{what}, start-up and all", "")):
            rates = {name: [asked.lines / one[clock] for one in measured] for name, measured in found.items()}
            rows.append(
                harness.row(
                    named,
                    "fairseq-generate",
                    wanted,
                    rates["translate"],
                    rates["generate"],
                    "sentences/s",
                    note=note,
                )
            )
            note = ""
    found = harness.pairs(
        {name: harness.side(__file__, name, *options) for name in ("write", "forward")}, asked.rounds
    )
    seconds = {name: [one["seconds"] for one in measured] for name, measured in found.items()}
    size = found["write"][0]["bytes"]
    rows.append(
        harness.row(
            "writing token targets",
            "the teacher's own forward pass",
            "<= 1.3",
            seconds["write"],
            seconds["forward"],
            "s",
        )
    )
    rows.append(
        harness.row("token targets on disk", "70 bytes a token", "<= 1", [size], [70.0], "bytes a token")
    )
    harness.save(
        asked.name,
        rows,
        facts
        | {
            "lines": asked.lines,
            "vocabulary": (asked.data / "bpe" / "dict.txt").read_text(encoding="utf-8").count("\n") + 4,
        },
    )


if __name__ == "__main__":
    main()
