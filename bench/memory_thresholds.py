"""What keeping freed memory is worth: training steps with and without machine.keep_freed_memory(), in turn, in one run.

    python bench/memory_thresholds.py [CAPACITY]      # needs data/ of a finished `dvc repro`

Prints the median target tokens/s of both and their ratio, pair by pair. A process for each: the threshold cannot be unset.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

ROUNDS = 5
UPDATES = 30


def measure(capacity: str, keep: bool) -> float:
    """Target tokens/s of a plain student's training, start-up left out."""
    from stages import student

    from nmtkd import grid, machine, params
    from nmtkd.models import training

    settings = params.load("methods", "capacities", "training", "grid")
    recipe = settings.training.model_copy(update={"updates": UPDATES, "checkpoint_every": UPDATES, "average": 1, "curve_pairs": 0})
    run = grid.Run(family="plain", method="plain", capacity=capacity, noise=settings.grid.noises[0], decoding=grid.NONE, seed=1)
    data = student.gather(run, settings.methods["plain"], 1.0).data
    if not keep:
        machine.keep_freed_memory = lambda: None
    with tempfile.TemporaryDirectory() as folder:
        card = training.train(data, settings.capacities[capacity], recipe, 1, Path(folder), Path(folder), stage="bench")
    return float(card["target_tokens_per_second"])


def main() -> None:
    capacity = sys.argv[1] if len(sys.argv) > 1 else "small"
    if len(sys.argv) > 2:
        print("RESULT", measure(capacity, sys.argv[2] == "keep"))
        return
    rates: dict[str, list[float]] = {"keep": [], "free": []}
    for _ in range(ROUNDS):
        for name, found in rates.items():
            done = subprocess.run([sys.executable, __file__, capacity, name], capture_output=True, text=True, check=True, cwd=ROOT)
            found.append(float(done.stdout.rsplit("RESULT", 1)[1]))
        print(f"{time.strftime('%H:%M:%S')} keep {rates['keep'][-1]:.0f}, free {rates['free'][-1]:.0f} target tokens/s", flush=True)
    ratios = [keep / free for keep, free in zip(rates["keep"], rates["free"], strict=True)]
    print(
        f"{capacity}: median {statistics.median(rates['keep']):.0f} against {statistics.median(rates['free']):.0f} target tokens/s; ",
        end="",
    )
    print(f"ratio {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
