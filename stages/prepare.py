"""`prepare`: normalise, tokenise, filter and split the corpus."""

from stages import entry, output  # first: it puts src/ on the path

from nmtkd.plan import layout, params
from nmtkd.text.account import account
from nmtkd.text.preparation import prepare


def main() -> None:
    of_corpus = [f"corpus.{name}" for name in ("name", "license", "source", "target", "tests")]
    settings = params.load(*of_corpus, "prepare", "evaluate.tokenize")
    with output(layout.PREPARED) as made:
        card = prepare(layout.RAW, made.path, settings.corpus, settings.prepare, settings.evaluate.tokenize)
    for line in account(card):
        print(f"[prepare] {line}")


if __name__ == "__main__":
    entry(main)
