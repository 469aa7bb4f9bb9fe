"""Commands of a laboratory in forks of two processes that have imported what such commands import.

A stage imports torch and fairseq for three seconds, to do a toy's work in a tenth of one. `python` and `dvc`
of the folder that `commands` gives ask for a fork instead. It runs the laboratory's own code, with the
arguments, folder, environment and streams of who asked; of the project nothing was imported before.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib.util
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = {
    "stages": ("torch._dynamo", "torch.distributed.nn", "sacrebleu", "sacremoses", "subword_nmt.apply_bpe",
               "matplotlib.figure", "ctranslate2", "pydantic", "psutil"),
    "dvc": ("dvc.cli", "dvc.commands.repro", "dvc.repo.reproduce", "pydantic", "psutil"),
}  # fmt: skip
LENGTH = 8  # bytes that say how long a request is
# Whoever is not asking for a stage, the runner or DVC runs by itself.
ASK = """#!{python} -IS
import json, os, socket, sys
name, *arguments = os.path.basename(sys.argv[0]), *sys.argv[1:]
module = name if name == "dvc" else arguments[1].partition(".")[0] if arguments[:1] == ["-m"] else ""
if module not in ("stages", "runner", "dvc"):
    os.execv({python!r}, [{python!r}, *arguments])
asked = json.dumps([name, arguments, os.getcwd(), dict(os.environ)]).encode()
server = socket.socket(socket.AF_UNIX)
server.connect({folder!r} + ("/stages.socket" if module == "stages" else "/dvc.socket"))
socket.send_fds(server, [len(asked).to_bytes({length}, "big")], [0, 1, 2])
server.sendall(asked)
code = server.makefile().read()
if not code:
    sys.exit("the process that forks for tests is gone")
if int(code) < 0:
    os.kill(os.getpid(), -int(code))
sys.exit(int(code))
"""


@functools.cache
def commands() -> Path:
    """The folder of `python` and `dvc`; starts the processes behind them, which end with this one."""
    folder = Path(tempfile.mkdtemp(prefix="forked-"))
    for name in ("python", "dvc"):
        path = folder / name
        text = ASK.format(python=sys.executable, folder=str(folder), length=LENGTH)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for kind in IMPORTED:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / f"{kind}.socket"))
        listener.listen()
        server = subprocess.Popen(
            [sys.executable, "-P", __file__, kind, str(listener.fileno())],
            env=environment, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
        atexit.register(server.kill)
    return folder


def prepare(kind: str) -> None:
    """Imports what takes long, fairseq as the project does."""
    if kind == "stages":
        path = ROOT / "src/nmtkd/network/slim_fairseq.py"
        spec = importlib.util.spec_from_file_location("slim_fairseq", path)
        assert spec is not None and spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    for name in IMPORTED[kind]:
        importlib.import_module(name)
    gc.freeze()  # or a fork's first collection would copy all of it


def serve(listener: socket.socket) -> tuple[str, list[str]]:
    """Forks for each who asks. Returns in a fork only, with the command that it is to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            break
        connection.close()
    listener.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(connection, LENGTH, 3)
    with connection.makefile("rb") as file:
        name, arguments, folder, environment = json.loads(file.read(int.from_bytes(head, "big")))
    if child := os.fork():
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    return name, arguments


def run(name: str, arguments: list[str]) -> None:
    """What `dvc` or Python does with these arguments."""
    if name == "dvc":
        from dvc.cli import main

        sys.argv = [name, *arguments]
        sys.exit(main())
    _, module, *rest = arguments
    here = os.getcwd()
    own = [os.path.join(here, one) for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.path[:0] = [here, *own]
    sys.argv = ["-m", *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    prepare(sys.argv[1])
    run(*serve(socket.socket(fileno=int(sys.argv[2]))))
