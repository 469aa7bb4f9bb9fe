"""Which tests run a line of the code, by coverage, and how long they take."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from functools import cached_property
from pathlib import Path

from coverage import CoverageData

from tests.copies import ROOT, copied, environment
from tests.mutants.changes import Mutant

TESTS = ("tests/unit", "tests/stages")  # that run in one process, so that coverage sees what they run
# Tests of a room in processes of their own, where coverage sees nothing: they may run any line of it.
ELSEWHERE = {
    "src/nmtkd/distil/": ("tests/unit/distil/test_shards.py",),
    "src/nmtkd/training/": ("tests/unit/training/test_sharing.py",),
    "src/nmtkd/processes.py": ("tests/unit/test_processes.py", "tests/unit/training/test_sharing.py"),
    "src/nmtkd/locks.py": ("tests/unit/test_locks.py",),
    "src/nmtkd/outputs.py": ("tests/unit/test_outputs.py",),
    "src/runner/__main__.py": ("tests/unit/runner/test_main.py",),
}


class Covered:
    """Which tests run which lines, and how long each takes."""

    def __init__(self, known: Path) -> None:
        """Runs all tests once in a copy below `known`, unless their coverage lies there."""
        self._folder, self._data, self._times = known / "covered", known / "coverage", known / "times.xml"
        if not (self._data.exists() and self._times.exists()):
            self._measure()

    def _measure(self) -> None:
        print(f"{time.strftime('%H:%M:%S')} which tests run which lines: all of them once", flush=True)
        copied(self._folder)
        sources = [f"--cov={self._folder / place}" for place in ("src", "stages")]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "auto", "--dist"]
        command += ["loadfile", *sources, "--cov-context=test", "--cov-report=", f"--junitxml={self._times}"]
        env = environment(self._folder) | {"COVERAGE_FILE": str(self._data)}
        done = subprocess.run([*command, *TESTS], cwd=self._folder, env=env, check=False)
        if done.returncode:
            self._data.unlink(missing_ok=True)
            raise SystemExit("the tests are red without any mutant; mend them first")

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Of each test, by its id."""
        found = {}
        for case in ET.parse(self._times).iter("testcase"):
            path = case.attrib["classname"].replace(".", "/") + ".py"
            found[f"{path}::{case.attrib['name']}"] = float(case.attrib["time"])
        return found

    @cached_property
    def _lines(self) -> CoverageData:
        data = CoverageData(str(self._data))
        data.read()
        return data

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that run its line, likely ones first; of a line that runs on import, those of its module.

        Where a fixture runs it, all tests of the file may: fixtures are shared.
        """
        by_line = self._lines.contexts_by_lineno(str(self._folder / mutant.module))
        lines = statement((ROOT / mutant.module).read_text(encoding="utf-8"), mutant.line)
        contexts = {context for line in lines for context in by_line.get(line, ())}
        if contexts == {""}:
            contexts = set(itertools.chain(*by_line.values()))
        if Path(mutant.module).stem == "__init__":  # was imported before the first test
            contexts = {one for each in self._beside(mutant) for one in each}
        chosen, files = set(), set()
        for context in filter(None, contexts):
            test, _, phase = context.rpartition("|")
            chosen.add(test)
            if phase == "setup":
                files.add(test.partition("::")[0])
        files |= {
            path for room, tests in ELSEWHERE.items() if mutant.module.startswith(room) for path in tests
        }
        if any(test.startswith("tests/stages/") for test in chosen):
            files |= {test.partition("::")[0] for test in self.seconds if test.startswith("tests/stages/")}
        chosen |= {test for test in self.seconds if test.partition("::")[0] in files}
        chosen &= self.seconds.keys()
        own = f"test_{Path(mutant.module).stem}.py"

        def likely(test: str) -> tuple[bool, bool, str, float]:
            path = test.partition("::")[0]
            costly = test.startswith("tests/stages/") or path in itertools.chain(*ELSEWHERE.values())
            return costly, not path.endswith(own), path, self.seconds[test]

        return sorted(chosen, key=likely)

    def _beside(self, mutant: Mutant) -> list[list[str]]:
        """What runs the lines of all modules of its package."""
        modules = (self._folder / mutant.module).parent.glob("*.py")
        return [one for path in modules for one in self._lines.contexts_by_lineno(str(path)).values()]


def statement(text: str, line: int) -> range:
    """The lines of the smallest statement around a line; of one with a body, its head."""
    found = range(line, line + 1)
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.stmt) or node.end_lineno is None:
            continue
        body = getattr(node, "body", None)
        end = body[0].lineno if body else node.end_lineno + 1
        if node.lineno <= line < end:
            found = range(node.lineno, end)
    return found
