"""`bpe`: learn joint subwords and the dictionary on the training text, and encode the held-out sets."""

from stages import entry, output  # first: it puts src/ on the path

from nmtkd import files
from nmtkd.plan import layout, params
from nmtkd.text.subwords import encode


def main() -> None:
    settings = params.load("corpus.target", "corpus.tests", "prepare.tokeniser", "bpe")
    with output(layout.BPE) as made:
        out = made.path
        card = encode(layout.PREPARED, out, ["valid", *settings.corpus.tests], settings.bpe)
        files.write_json(out / layout.CARD, card)
        form = {"target": settings.corpus.target, "tokeniser": settings.prepare.tokeniser}
        files.write_json(out / layout.TEXT, {**form, "longest": max(card["longest_line"].values())})
    print(f"[bpe] {card['merges']} merges, {card['dictionary']} pieces in the dictionary")


if __name__ == "__main__":
    entry(main)
