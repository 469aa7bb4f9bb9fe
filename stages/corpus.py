"""`corpus`: fetches the archives of the corpus and extracts line-aligned raw text."""

from stages import entry  # first: it puts src/ on the path

from nmtkd import grid, machine, params
from nmtkd.text import corpora
from nmtkd.text.fetch import cache_folder, fetch


def main() -> None:
    corpus = params.load("corpus").corpus
    archives = {archive.name: fetch(archive, cache_folder()) for archive in corpora.needed(corpus)}
    with machine.whole(grid.RAW) as out:
        card = corpora.extract(corpus, archives, out)
    for name, pairs in card["pairs"].items():
        print(f"[corpus] {name}: {pairs} pairs")


if __name__ == "__main__":
    entry(main)
