"""From raw lines to tokenised splits, with a data card that accounts for every line.

Files of a split, one line a segment: NAME.src and NAME.tgt (tokens, placeholders numbered), NAME.raw and
NAME.ref (source and target as the corpus has them) and NAME.names (the names of the placeholders, a JSON list
a line). Held-out sets also have NAME.groups: which segments are parts of one text.

Held-out sets are in memory, train is not: a first pass chooses its pairs, a second one cleans them block by
block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from nmtkd import machine
from nmtkd.files import write_json, writing
from nmtkd.plan.data import Corpus, Prepare
from nmtkd.plan.layout import CARD, GROUPS, TRAIN, VALID
from nmtkd.text import ceiling, provenance, raw_corpus, selection, workers
from nmtkd.text.cleaning import (
    CHUNK,
    FILES,
    REASONS,
    SERIAL_BELOW,
    Cleaner,
    PairTokeniser,
    Tokenised,
    Train,
    files_of,
    lower,
    raw_blocks,
    sizes,
)
from nmtkd.text.languages import AUTO, DEFAULT, bleu_tokeniser, unspaced_share
from nmtkd.text.parallel import ParallelTextError, write_lines
from nmtkd.text.raw_corpus import Card, HeldOut
from nmtkd.text.splitting import Pair
from nmtkd.text.survey import pick
from nmtkd.text.tokenisers import tokeniser

MOSTLY = 0.5  # share of a text's letters
DECIMALS = 3  # of a ratio on the card


def prepare(raw: Path, out: Path, corpus: Corpus, settings: Prepare, tokenize: str = AUTO) -> Card:
    """Writes all splits and their card into `out`. Returns the card.

    `tokenize` is evaluate.tokenize, by which ceilings are scored. Raises ParallelTextError for broken input,
    for overlap between train and held-out sets where `overlap` is error, and for a target text without
    spaces whose language code names no tokeniser for it.
    """
    pair = f"{corpus.source}-{corpus.target}"
    card: Card = {"corpus": corpus.name, "pair": pair, "license": corpus.license, "dropped": {}}
    card["tokeniser"] = settings.tokeniser
    train, digests_N2, held_out = raw_corpus.choose(raw, corpus, settings, card)
    card["target_characters_per_source_character"] = round(train.ratio, DECIMALS)
    if settings.valid_every or settings.train_pairs or settings.expected:
        clean = selection.clean(train, corpus, settings, card)
        train, valid = selection.every(clean, settings)
        if settings.valid_every:
            pairs = pick(train.source, train.target, valid)
            groups = [str(number) for number in range(len(pairs))]
            held_out = {VALID: HeldOut(pairs, groups), **held_out}
        steps = {"clean": clean.pairs, "train": train.pairs, "valid": len(held_out[VALID].pairs)}
        selection.check(card, settings, steps)
        if settings.valid_every:
            train = raw_corpus.without_overlap(train, digests_N2, held_out, settings, card)
        train = selection.part(train, settings, card)
    _check_language(corpus, tokenize, [target for _, target in held_out[corpus.tests[0]].pairs])
    out.mkdir(parents=True, exist_ok=True)
    card["splits"], card["normalised"], card["ceiling"] = {}, {}, {}
    for name, held in held_out.items():
        _write_held_out(out, name, held, corpus, settings, tokenize, card)
    tests = [(name, source) for name in corpus.tests for source, _ in held_out[name].pairs]
    near = _write_train(out, train, [source for _, source in tests], corpus, settings, card)
    near_counts = Counter(tests[index][0] for index in near)
    card["near_duplicates"] = {
        "threshold": settings.near_duplicate,
        **{name: near_counts[name] for name in corpus.tests},
    }
    card |= provenance.written(out, sorted(path.name for path in out.iterdir()))
    write_json(out / CARD, card)
    return card


def _check_language(corpus: Corpus, tokenize: str, references: Sequence[str]) -> None:
    """BLEU by a tokeniser that splits at spaces is near 0 for text without any, however good it is."""
    if bleu_tokeniser(corpus.target, tokenize) != DEFAULT or tokenize != AUTO:
        return
    share = unspaced_share("".join(references))
    if share > MOSTLY:
        raise ParallelTextError(
            f"corpus.target: {100 * share:.0f}% of the letters of {corpus.tests[0]} are of scripts without "
            f"spaces, but {corpus.target!r} is no language that BLEU is known to need another tokeniser for; "
            "correct the code (zh, ja, th, lo, km, my), or set evaluate.tokenize to one, for example char"
        )


def _write_held_out(
    out: Path, name: str, held: HeldOut, corpus: Corpus, settings: Prepare, tokenize: str, card: Card
) -> None:
    """Writes a held-out set. Its counts and the ceiling of its score go into the card."""
    write_lines(out / f"{name}.{GROUPS}", held.groups)
    pairs, changed = _tokenise(held.pairs, corpus, settings, name)
    if settings.lowercase:
        pairs = [pair.lower() for pair in pairs]
    for file, content in files_of(pairs).items():
        with writing(out / f"{name}.{file}") as opened:
            opened.write(content)
    card["splits"][name] = {**sizes(pairs), "groups": len(set(held.groups))}
    _count_normalised(card, settings, name, changed)
    back = tokeniser(settings.tokeniser, corpus.target)
    references = [lower(pair.ref) if settings.lowercase else pair.ref for pair in pairs]
    texts = [ceiling.back(pair.tgt, pair.names, back) for pair in pairs]
    card["ceiling"][name] = ceiling.measure(references, texts, bleu_tokeniser(corpus.target, tokenize))
    quoted = [{"split": name, **line} for line in ceiling.worst(references, texts)]
    if quoted and ceiling.is_low(card["ceiling"][name]):
        card.setdefault("ceiling_worst", []).extend(quoted)


def is_test(name: str) -> bool:
    """Whether a split is a test set."""
    return name not in (TRAIN, VALID)


def _count_normalised(card: Card, settings: Prepare, name: str, changed: Counter[str]) -> None:
    kinds = [*(settings.normalise_tests if is_test(name) else []), *settings.normalise]
    if kinds:
        card["normalised"][name] = {kind: changed[kind] for kind in kinds}


def _tokenise(
    raw: Sequence[Pair], corpus: Corpus, settings: Prepare, name: str
) -> tuple[list[Tokenised], Counter[str]]:
    """The pairs of split `name`, tokenised on all cores, in their order; and lines changed by kind."""
    chunks = (raw[start : start + CHUNK] for start in range(0, len(raw), CHUNK))
    pairs, changed = list[Tokenised](), Counter[str]()
    serial = len(raw) < SERIAL_BELOW
    for chunk, counts in workers.each(
        _ChunkTokeniser, (corpus, settings, is_test(name)), chunks, serial=serial
    ):
        pairs += chunk
        changed.update(counts)
        machine.progress("prepare", len(pairs), len(raw), f"pairs of {name} tokenised")
    return pairs, changed


class _ChunkTokeniser:
    def __init__(self, corpus: Corpus, settings: Prepare, tests: bool) -> None:
        self._args, self._tests = (corpus, settings), tests

    def __call__(self, raw: Sequence[Pair]) -> tuple[list[Tokenised], Counter[str]]:
        tokenise = PairTokeniser(*self._args, tests=self._tests)
        return [tokenise(pair) for pair in raw], tokenise.changed


def _write_train(
    out: Path, train: Train, tests: Sequence[str], corpus: Corpus, settings: Prepare, card: Card
) -> set[int]:
    """Writes train, and its counts into the card. Returns the indices of the `tests` that it resembles."""
    total, done = train.pairs, 0
    counts, dropped, changed, near = Counter[str](), Counter[str](), Counter[str](), set[int]()
    args = (corpus, settings, tests, train.ratio)
    with ExitStack() as stack:
        files = {name: stack.enter_context(writing(out / f"train.{name}")) for name in FILES}
        for block in workers.each(Cleaner, args, raw_blocks(train, CHUNK), serial=total < SERIAL_BELOW):
            for name, file in files.items():
                file.write(block.files[name])
            counts.update(block.sizes)
            dropped.update(block.dropped)
            changed.update(block.changed)
            near |= block.near
            done += block.sizes["pairs"] + block.dropped.total()
            machine.progress("prepare", done, total, "pairs of train tokenised")
        card["dropped"].update(
            {reason: card["dropped"].get(reason, 0) + dropped[reason] for reason in REASONS}
        )
        if not counts["pairs"]:
            raise ParallelTextError(
                f"train: none of {card['raw_pairs']} pairs is left after cleaning; dropped: "
                + ", ".join(f"{number} {reason}" for reason, number in card["dropped"].items() if number)
                + "; see prepare.max_words and prepare.max_ratio"
            )
    card["splits"]["train"] = {**counts, "groups": 0}
    _count_normalised(card, settings, "train", changed)
    return near
