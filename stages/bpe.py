"""`bpe`: learn joint subwords and the dictionary on the training text, and encode the held-out sets."""

from stages import entry  # first: it puts src/ on the path

from nmtkd import grid, machine, params
from nmtkd.text.parallel import write_json
from nmtkd.text.subwords import encode


def main() -> None:
    settings = params.load("corpus", "bpe")
    with machine.whole(grid.BPE) as out:
        card = encode(grid.PREPARED, out, ["valid", *settings.corpus.tests], settings.bpe)
        write_json(out / "card.json", card)
    print(f"[bpe] {card['merges']} merges, {card['dictionary']} pieces in the dictionary")


if __name__ == "__main__":
    entry(main)
