"""Small changes of a room's code, as mutmut makes them, and a sample of them."""

from __future__ import annotations

import ast
import hashlib
import itertools
import random
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_string

from tests.copies import ROOT

ROOMS = {  # folders with all below them, and files
    "distil": ("src/nmtkd/distil",),
    "text": ("src/nmtkd/text",),
    "evidence": ("src/nmtkd/evidence",),
    "training": ("src/nmtkd/training",),
    "stages": ("stages",),
    "runner": ("src/runner",),
    "plan": ("src/nmtkd/plan",),
    "files": tuple(f"src/nmtkd/{name}.py" for name in ("files", "locks", "machine", "outputs", "processes")),
}
PER_ROOM, SEED = 60, 20261127
KEY_DIGITS = 16


@dataclass(frozen=True)
class Mutant:
    """One change of a module: the text that comes of it, and the line where it differs, from 1."""

    room: str
    module: str
    line: int
    before: str
    after: str
    text: str

    @property
    def key(self) -> str:
        """What it is known by."""
        return hashlib.sha256(f"{self.module} {self.text}".encode()).hexdigest()[:KEY_DIGITS]


class _Bare(ast.NodeTransformer):
    """Leaves out what never runs under these tests: annotations, and what a module does as a program.

    Those of a class stay: pydantic reads them.
    """

    _in_class = False

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._within(node, True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._within(node, False)

    def _within(self, node: ast.AST, in_class: bool) -> ast.AST:
        before, self._in_class = self._in_class, in_class
        self.generic_visit(node)
        self._in_class = before
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if not self._in_class:
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if "__name__" in ast.unparse(node.test) else self.generic_visit(node)


def bare(text: str) -> str:
    """What a module does."""
    return ast.dump(_Bare().visit(ast.parse(text)))


class Module:
    """A module and all changes to it, by number."""

    def __init__(self, path: Path) -> None:
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text(encoding="utf-8")
        wrapper = MetadataWrapper(cst.parse_module(self.text))
        self._tree, self._same = wrapper.module, bare(self.text)
        self.changes = [
            (node, changed, position.start.line)
            for node, position in wrapper.resolve(PositionProvider).items()
            for kind, operator in mutation_operators
            if isinstance(node, kind)
            # of a text that becomes another one three times the first is enough
            for changed in list(operator(node))[: 1 if operator is operator_string else None]
        ]

    def mutant(self, room: str, number: int) -> Mutant | None:
        """The module with a change; None if it is none to a running program."""
        node, changed, line = self.changes[number]
        text = self._tree.deep_replace(node, changed).code
        try:
            if bare(text) == self._same:
                return None
        except SyntaxError:
            return None
        before, after = ([*one.splitlines(), ""] for one in (self.text, text))
        at = next(i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1])
        return Mutant(room, self.name, line, before[at].strip(), after[at].strip(), text)


def modules_of(room: str) -> list[Path]:
    """The modules of a room."""
    places = [ROOT / place for place in ROOMS[room]]
    return sorted(path for place in places for path in ([place] if place.is_file() else place.rglob("*.py")))


def drawn(room: str) -> list[Mutant]:
    """The sample of a room."""
    modules = [Module(path) for path in modules_of(room)]
    places = [(module, number) for module in modules for number in range(len(module.changes))]
    random.Random(f"{SEED} {room}").shuffle(places)
    found = (module.mutant(room, number) for module, number in places)
    return list(itertools.islice((mutant for mutant in found if mutant), PER_ROOM))
