"""`corpus`: fetches the archives of the corpus and extracts line-aligned raw text."""

from stages import entry  # first: it puts src/ on the path

from nmtkd import files
from nmtkd.plan import layout, params
from nmtkd.text.corpora import readers
from nmtkd.text.corpora.fetch import cache_folder, fetch


def main() -> None:
    corpus = params.load("corpus").corpus
    archives = {archive.name: fetch(archive, cache_folder()) for archive in readers.needed(corpus)}
    with files.written_whole(layout.RAW) as out:
        card = readers.extract(corpus, archives, out)
    for name, pairs in card["pairs"].items():
        print(f"[corpus] {name}: {pairs} pairs")


if __name__ == "__main__":
    entry(main)
