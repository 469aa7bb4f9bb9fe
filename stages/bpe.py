"""`bpe`: learn joint subwords and the dictionaries on the training text, and encode the held-out sets."""

from typing import Any

from stages import entry, output  # first: it puts src/ on the path

from nmtkd import files
from nmtkd.plan import layout, params
from nmtkd.text.parallel import ParallelTextError
from nmtkd.text.subwords import encode


def check(card: dict[str, Any]) -> None:
    """Raises ValueError for what would only fail once a teacher has been trained."""
    params.check_dictionary(card["dictionary"])
    if empty := [file for file, longest in card["longest_line"].items() if longest == 1]:  # EOS alone
        raise ParallelTextError(
            f"{layout.BPE}: nothing stands in {', '.join(empty)}, so that no model can be chosen or scored; "
            "raise prepare.valid_pairs and prepare.test_pairs, or fill the corpus's own files"
        )


def main() -> None:
    settings = params.load("corpus.target", "corpus.tests", "prepare.tokeniser", "bpe")
    with output(layout.BPE) as made:
        out = made.path
        card = encode(layout.PREPARED, out, ["valid", *settings.corpus.tests], settings.bpe)
        check(card)
        files.write_json(out / layout.CARD, card)
        form = {"target": settings.corpus.target, "tokeniser": settings.prepare.tokeniser}
        files.write_json(out / layout.TEXT, {**form, "longest": max(card["longest_line"].values())})
    pieces = card["dictionary"]
    print(
        f"[bpe] {card['merges']} merges, {pieces['joint']} pieces in the joint dictionary, "
        f"{pieces['src']} and {pieces['tgt']} in those of the sides"
    )
    for reason, number in card["dropped"].items():
        if number:
            print(f"[bpe] dropped of train: {number:,} pairs, {reason}; {card['pairs']:,} are left")


if __name__ == "__main__":
    entry(main)
