"""A laboratory in a temporary repository: the project's own files, a toy corpus, and the real DVC."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from tests import forked
from tests.structure import graph

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# What a clone would hold, less what a test does not need.
PROJECT = (
    "stages", "src", "manifests", "conf", ".dvc/config", ".dvc/plots", ".dvcignore", ".gitignore", "dvc.yaml",
    "requirements.lock",
)  # fmt: skip
# What a process reads when it starts: where a test sets one, it has a process of its own.
AT_START = ("PATH", "PYTHONPATH", "OMP_NUM_THREADS", "NMTKD_THREADS")


class Lab:
    """A repository and its commands. Every command must succeed unless it is asked whether it does.

    A command that a test waits for runs in a fork (forked.py), unless `forks` is set to false.
    """

    forks = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": "src",
            "NMTKD_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "NMTKD_SCRATCH": str(folder / ".scratch"),
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.org",
        }
        self._at_start = self._read_at_start()

    def _read_at_start(self) -> list[str | None]:
        return [self.env.get(name) for name in AT_START]

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command and returns whatever it did."""
        env = self._forking() if self.forks and self._read_at_start() == self._at_start else self.env
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)

    def _forking(self) -> dict[str, str]:
        return self.env | {"PATH": f"{forked.commands()}{os.pathsep}{self.env['PATH']}"}

    def begin(self, *command: str, fork: bool = False) -> subprocess.Popen[str]:
        """Starts a command and goes on; what it prints, on either stream, can be read from it.

        In a process of its own, with all its signals; or in a fork, which takes SIGKILL alone.
        """
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._forking() if fork else self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A job of a shell's background ignores Ctrl-C, and so would all that it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def run(self, *command: str) -> str:
        """Runs a command that must succeed; returns what it printed on both streams."""
        done = self.ask(*command)
        assert done.returncode == 0, (
            f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        )
        return done.stdout + done.stderr

    def stale(self) -> set[str]:
        """The stages that `dvc repro` may run now, once the manifests are those of the code."""
        self.run("dvc", "repro", "--quiet", "manifests")
        changed = json.loads(self.ask("dvc", "status", "--json").stdout)
        return graph.downstream(graph.read(self.folder), changed)

    def repro(self, *arguments: str) -> set[str]:
        """Runs `dvc repro` and returns the stages that it ran."""
        return set(re.findall(r"Running stage '([^']+)'", self.run("dvc", "repro", *arguments)))

    def edit(self, file: str, *places: tuple[str, object]) -> None:
        """Sets values in a YAML file by their dotted names."""
        path = self.folder / file
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for place, value in places:
            *parents, last = place.split(".")
            target = content
            for name in parents:
                target = target[name]
            target[last] = value
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def change_code(self, file: str) -> None:
        """Changes what a module says, though not what it does, and lets the manifests follow."""
        self.append(file, "\nADDED = None\n")
        self.run("dvc", "repro", "--quiet", "manifests")

    def append(self, file: str, text: str) -> None:
        """Adds text at the end of a file."""
        path = self.folder / file
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    def read(self, file: str) -> bytes:
        """The bytes of a file."""
        return (self.folder / file).read_bytes()


def records(lab: Lab) -> dict[str, str]:
    """What dvc.lock says of each stage, to the letter and in its order."""
    first, *texts = re.split(r"^  (?=\S)", lab.read("dvc.lock").decode(), flags=re.MULTILINE)
    assert first == "schema: '2.0'\nstages:\n"
    return {text.partition(":\n")[0]: text for text in texts}


def write_corpus(folder: Path, train: int = 300, held_out: int = 24) -> None:
    """A made-up language pair: the target says the words of the source backwards, from right to left."""
    generator = random.Random(7)
    words = ["".join(generator.choice(s) for s in ("bdfgklmn", "aeiou", "prst", "aeiou")) for _ in range(40)]
    lines: set[str] = set()
    while len(lines) < train + 2 * held_out:
        lines.add(" ".join(generator.choice(words) for _ in range(generator.randint(2, 7))))
    folder.mkdir(parents=True)
    rest = sorted(lines)
    generator.shuffle(rest)
    for split, size in (("valid", held_out), ("test", held_out), ("train", train)):
        chosen, rest = rest[:size], rest[size:]
        (folder / f"{split}.src").write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")
        there = [" ".join(word[::-1] + "en" for word in reversed(line.split())) for line in chosen]
        (folder / f"{split}.tgt").write_text("".join(f"{line}\n" for line in there), encoding="utf-8")


def make_lab(folder: Path, corpus: Path | None = None) -> Lab:
    """The project in a new git repository, at the toy scale. A toy corpus is made unless one is given."""
    text_folder = corpus or folder.parent / "corpus"
    for name in PROJECT:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    config = folder / "conf/config.yaml"
    text = (
        config.read_text(encoding="utf-8")
        .replace("corpus: homeassistant", "corpus: files")
        .replace("scale: quick", "scale: toy")
        .replace("long_words: 0", "long_words: 4")
        .replace("length_penalties: [0.6, 1.0, 1.4, 1.8, 2.2]", "length_penalties: [0.6, 1.0, 1.4]")
    )
    config.write_text(text.replace("study: default", "study: toy"), encoding="utf-8")
    methods = "{plain: [plain], word: [word], seq: [seq], both: [both]}"
    axes = f"methods: {methods}, capacities: [tiny, small], noises: [clean], decodings: [beam], seeds: [1]"
    study = f"# @package _global_\ngrid: {{{axes}}}\nreport: {{study: toy}}\n"
    (folder / "conf/study/toy.yaml").write_text(study, encoding="utf-8")
    definition = folder / "conf/corpus/files.yaml"
    text = definition.read_text(encoding="utf-8").replace("folder: corpus", f"folder: {text_folder}")
    definition.write_text(text, encoding="utf-8")
    if corpus is None:
        write_corpus(text_folder)
    lab = Lab(folder)
    lab.run("git", "init", "-q", "-b", "main")
    compose = "import os; from dvc.utils.hydra import compose_and_dump as c; "
    compose += "c('params.yaml', os.path.abspath('conf'), None, 'config', '.plugins', [])"
    lab.run("python", "-c", compose)
    lab.run("git", "add", "-A")
    lab.run("git", "commit", "-qm", "start")
    return lab
