"""`prepare`: normalise, tokenise, filter and split the corpus."""

from stages import entry  # first: it puts src/ on the path

from nmtkd import grid, machine, params
from nmtkd.text.preparation import prepare


def main() -> None:
    settings = params.load("corpus", "prepare")
    with machine.whole(grid.PREPARED) as out:
        card = prepare(grid.RAW, out, settings.corpus, settings.prepare)
    for name, counts in card["splits"].items():
        print(f"[prepare] {name}: {counts['pairs']} pairs")


if __name__ == "__main__":
    entry(main)
