"""`corpus`: fetches the archives of the corpus and extracts line-aligned raw text."""

from stages import entry, output  # first: it puts src/ on the path

from nmtkd.plan import layout, params
from nmtkd.text.corpora import readers
from nmtkd.text.corpora.fetch import cache_folder, fetch


def main() -> None:
    corpus = params.load("corpus").corpus
    archives = {archive.name: fetch(archive, cache_folder()) for archive in readers.needed(corpus)}
    with output(layout.RAW) as made:
        card = readers.extract(corpus, archives, made.path)
    for name, pairs in card["pairs"].items():
        print(f"[corpus] {name}: {pairs} pairs")


if __name__ == "__main__":
    entry(main)
