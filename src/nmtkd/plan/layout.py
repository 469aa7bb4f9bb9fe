"""Paths: each folder and file that one stage writes and another reads."""

from __future__ import annotations

from pathlib import Path

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
BPE = Path("data/bpe")
REPORTS = Path("reports")
STUDIES = REPORTS / "studies"  # small results of the studies that were run, by corpus and study
RUNS = REPORTS / "runs"
FIGURES = REPORTS / "figures"
MACHINE = REPORTS / "machine"  # times and rates: neither output nor input of a stage
MANIFESTS = Path("manifests")

CARD = "card.json"  # in most folders: counts, and how the folder was made
CURVE = "curve.csv"  # validation by update
CODES = "codes.bpe"
TEXT = "text.json"  # beside the codes: how pieces become text again, and the longest line of the corpus
# In fairseq's format: a token and its count a line, most frequent first.
DICTIONARY = "dict.txt"  # joint: of both sides
SIDE_DICTIONARIES = {"src": "dict.src.txt", "tgt": "dict.tgt.txt"}  # of each side's own training text
DICTIONARY_FILES = [DICTIONARY, *SIDE_DICTIONARIES.values()]
# Beside the codes: tokens of each pair of train [N, 2], clean and gold. By them all arms cut batches.
LENGTHS = "lengths.npy"
# Beside the codes: which pairs of prepared train are train, as a mask [pairs]; bpe.max_pieces and max_ratio.
KEPT = "kept.npy"
GROUPS = "groups"  # ending of a held-out set's file that names the group of each segment
TEACHER_TEXT = "teacher"  # in a noise folder: the teacher's text, where it differs from the students'
MODEL = "model.pt"
RANDOM_WEIGHTS = "conf/random_weights"  # value of `init` for none: DVC wants a path that exists
# Content hash of the model. A student of stored output depends on this file, not on the model itself.
HASH = "model.sha256"

GOLD = "gold"  # the prefix of word-level targets; no decoding strategy may have this name
NONE = "none"  # `decoding` in results.csv of methods without a teacher's output
STUDENT = "student"  # `decoding` in results.csv where prefixes are the student's own samples

# Names of the evidence (evidence/results.py), which no method, capacity or test set may have.
TEACHER = "teacher"  # the teacher's method and capacity among results
LONG = "_long"  # ending of the name of a test set's subset of evaluate.long_words words and more
# Parts of a corpus beside its test sets; UNSPLIT is what a corpus without splits is called in RAW.
TRAIN, VALID, UNSPLIT = "train", "valid", "all"


# Of the source and of the target, by `architecture.embeddings`.
DICTIONARIES = {
    "joint": (BPE / DICTIONARY, BPE / DICTIONARY),
    "separate": (BPE / SIDE_DICTIONARIES["src"], BPE / SIDE_DICTIONARIES["tgt"]),
}


def noise_dir(noise: str) -> Path:
    """Training text under a noise condition."""
    return Path("data/noise") / noise


def teacher_dir(noise: str) -> Path:
    """The teacher of a noise condition."""
    return Path("models/teacher") / noise


def hypotheses_dir(noise: str, decoding: str) -> Path:
    """The teacher's translations of the training source."""
    return Path("data/hypotheses") / f"{noise}-{decoding}"


def targets_dir(noise: str, prefix: str) -> Path:
    """The teacher's distributions along a prefix: `gold`, or the name of a decoding."""
    return Path("data/targets") / f"{noise}-{prefix}"


def student_dir(key: str) -> Path:
    """A trained student."""
    return Path("models/student") / key


def model_dir(trained: Path) -> Path:
    """Subfolder of a teacher or student: model files, dictionaries and hash, all that decides its output."""
    return trained / "model"


def translations_dir(key: str) -> Path:
    """A model's translations of the held-out sets. `key` is a run's key or `teacher-NOISE`."""
    return Path("data/translations") / key


def scores_file(key: str) -> Path:
    """A model's scores, beside its translations."""
    return translations_dir(key) / "scores.json"


def result_file(key: str) -> Path:
    """A model's scores: small, tracked by git."""
    return RUNS / f"{key}.json"


def study_dir(corpus: str, study: str) -> Path:
    """Small results of a study on a corpus, tracked by git."""
    return STUDIES / f"{corpus}-{study}"


def teacher_key(noise: str) -> str:
    """The teacher's name among results."""
    return f"{TEACHER}-{noise}"


def manifest(entry: str) -> Path:
    """Which code `stages.ENTRY` runs (src/runner/manifests.py)."""
    return MANIFESTS / f"{entry}.json"


TRAINING, DECODING = "training", "decoding"  # kinds of measurements
MEASURED = "machine"  # the function of evidence/page.js that a file of a measurement calls


def machine_file(kind: str, key: str) -> Path:
    """Measurements of one model on this machine: `kind` is training or decoding."""
    return MACHINE / kind / f"{key}.js"
