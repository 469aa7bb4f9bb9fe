"""Params that are as they must be, what changes them, and the problems that are then told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.params import ParamsError, validate

GOOD = """
corpus: {name: toy, reader: files, source: en, target: de, tests: [test], archives: [], folder: corpus,
  license: CC0}
prepare: {tokeniser: reversible, normalise: [], seed: 1, valid_pairs: 2, test_pairs: 3,
  max_words: {source: 60, target: 60}, max_ratio: 3.0, ratio_slack: 24,
  overlap: drop, near_duplicate: 0.8, normalise_tests: [], lowercase: false, placeholders: true,
  duplicates: drop, ratio_of: characters, valid_every: 0, train_pairs: 0, expected: null}
bpe: {merges: 4000, min_frequency: 2, max_pieces: null, max_ratio: null}
noises:
  clean: {kind: none, side: both, seed: 1}
  del10: {kind: deletion, rate: 0.1, side: both, seed: 1}
architecture: {embeddings: joint}
teacher:
  architecture: {encoder_layers: 3, decoder_layers: 3, width: 128, ffn: 512, heads: 4}
  training: &recipe
    updates: 600
    max_tokens: 4096
    lr: 0.003
    warmup: 200
    adam_betas: [0.9, 0.98]
    dropout: 0.1
    label_smoothing: 0.1
    clip_norm: 1.0
    weight_decay: 0.0001
    pre_norm: true
    checkpoint_every: 100
    average: 4
    curve_pairs: 200
    precision: float32
    init: conf/random_weights
  seeds: [1]
decodings:
  beam: {kind: search, engine: ctranslate2, compute: float32, beam: 5, nbest: 5,
    length_penalties: [1.0, 1.4], max_length_factor: 2.0, max_length_offset: 10}
targets: {top_k: 16, temperature: 1.0, max_tokens: 8192, precision: float32}
methods:
  plain: {sequence: gold, teacher_weight: 0.0}
  word: {sequence: gold, teacher_weight: 0.5, divergence: forward_kl}
  seq: {sequence: hypothesis, teacher_weight: 0.0}
  both: {sequence: hypothesis, teacher_weight: 0.5, divergence: forward_kl}
  hybrid:
    sequence: gold_and_hypothesis
    teacher_weight: 0.5
    divergence: forward_kl
    gate: {kind: learned, values: []}
  online:
    sequence: gold
    teacher_weight: 0.5
    divergence: forward_kl
    on_policy: {share: 0.5, temperature: 1.0, from_update: 300, max_length_offset: 10}
capacities:
  tiny: {encoder_layers: 1, decoder_layers: 1, width: 48, ffn: 96, heads: 4}
ladder: [tiny]
training: *recipe
evaluate: {primary: bleu, long_words: 4, tokenize: auto, engine: ctranslate2,
  compute: float32, beam: 5, length_penalties: [1.0, 1.4], max_length_factor: 2.0, max_length_offset: 10}
report: {study: default, bootstrap_samples: 1000, bootstrap_seed: 12345, confidence: 0.95,
  min_segments: 100, max_climb: 1.0}
grid:
  methods: {plain: [plain], word: [word], seq: [seq], both: [both], hybrid: [hybrid], online: [online]}
  capacities: [tiny]
  noises: [clean]
  decodings: [beam]
  seeds: [1]
"""


def changed(**values: Any) -> dict[str, Any]:
    """The good values with some replaced: a__b=1 sets raw["a"]["b"]; ... (Ellipsis) removes."""
    raw: dict[str, Any] = yaml.safe_load(GOOD)
    raw["training"] = dict(raw["training"])  # YAML's alias makes both recipes one object
    for place, value in values.items():
        *sections, last = place.split("__")
        part = raw
        for section in sections:
            part = part[section]
        if value is ...:
            del part[last]
        else:
            part[last] = value
    return raw


def problems(raw: Any) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        validate(raw, Path("p.yaml"))
    head, *lines = str(caught.value).split("\n")
    assert head == f"p.yaml: {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    assert all(line.startswith("  ") for line in lines)
    return [line[2:] for line in lines]


def saved(folder: Path, text: str = GOOD) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


NO_METHODS: dict[str, list[str]] = {family: [] for family in FAMILIES}
DRAWS = {"temperature": 1.0, "top_p": 0.95, "seed": 1}
GATES = {"budget": 0.5, "weight": 10.0, "polarity": 1.0, "closing": 10, "opening": 1.0}


def mixed(**changes: Any) -> dict[str, Any]:
    """A good mixture of noises with some values replaced; ... removes."""
    values = {
        "kind": "mixed",
        "rates": {"deletion": 0.1, "substitution": 0.0, "swap": 0.2},
        "side": "both",
        "seed": 1,
    }
    return {name: value for name, value in (values | changes).items() if value is not ...}
