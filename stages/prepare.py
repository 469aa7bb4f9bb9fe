"""`prepare`: normalise, tokenise, filter and split the corpus."""

from stages import entry  # first: it puts src/ on the path

from nmtkd import files
from nmtkd.plan import layout, params
from nmtkd.text.account import account
from nmtkd.text.preparation import prepare

READ = (
    "tokeniser",
    "normalise",
    "seed",
    "valid_pairs",
    "test_pairs",
    "max_words",
    "max_ratio",
    "ratio_slack",
    "overlap",
    "near_duplicate",
)


def main() -> None:
    of_corpus = [f"corpus.{name}" for name in ("name", "license", "source", "target", "tests")]
    settings = params.load(*of_corpus, *(f"prepare.{name}" for name in READ), "evaluate.tokenize")
    with files.written_whole(layout.PREPARED) as out:
        card = prepare(layout.RAW, out, settings.corpus, settings.prepare, settings.evaluate.tokenize)
    for line in account(card):
        print(f"[prepare] {line}")


if __name__ == "__main__":
    entry(main)
