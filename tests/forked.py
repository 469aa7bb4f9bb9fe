"""Commands in forks of two processes that have imported what such commands import.

A stage imports torch and fairseq for three seconds, to do a toy's work in a tenth of one. `python` and `dvc`
of the folder that `commands` gives ask for a fork instead. It runs the code of the folder where it is asked
for, with the arguments, environment and streams of who asked; of the project nothing was imported before.
Whoever kills who asked kills the fork: its streams are closed once it is gone. What a fork starts itself by
`sys.executable` is a fork too: jobs of a cluster, and the processes that share a training.
"""

from __future__ import annotations

import atexit
import contextlib
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
import threading
import traceback
import warnings
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
DVC = (
    "dvc.cli", "dvc.cli.parser", "dvc.commands.repro", "dvc.repo.reproduce", "dvc.stage.cache",
    "dvc.stage.run", "dvc.repo.datasets", "dvc.repo.plots", "dvc.repo.stage", "dvc.rwlock", "dvc.lock",
    "dvc.dirs", "dvc.cachemgr", "dvc.utils.strictyaml", "dvc_data.hashfile.build",
    "dvc_data.hashfile.db.local", "scmrepo.git", "networkx", "ruamel.yaml", "flatten_dict", "zc.lockfile",
    "configobj", "pyparsing", "pydantic.main", "psutil", "numpy", "yaml", "zoneinfo",
    "multiprocessing.popen_fork",
)  # fmt: skip
IMPORTED = {
    "stages": ("torch._dynamo", "torch.distributed.nn", "torch.distributed.run",
               "torch.distributed.elastic.rendezvous.c10d_rendezvous_backend",
               "torch.profiler._cupti_monitor", "torch.utils.serialization.config", "fairseq.trainer",
               "fairseq.sequence_generator",
               "fairseq.quantization_utils", "fairseq.data.data_utils_fast", "ctranslate2.converters.fairseq",
               "pyonmttok", "sacrebleu", "sacrebleu.tokenizers.tokenizer_13a",
               "sacrebleu.tokenizers.tokenizer_none", "sacremoses", "subword_nmt.apply_bpe",
               "subword_nmt.learn_bpe", "matplotlib.figure", "matplotlib.backends.backend_svg",
               "scipy.special", "pydantic.dataclasses", "requests",
               *DVC),  # for the forecast, which measures what a stage does
    "dvc": DVC,
}  # fmt: skip
COMMAND = ("data", "--task=translation", "--arch=transformer", "--optimizer=adam")  # of fairseq-train
LENGTH = 8  # bytes that say how long a request is
PR_SET_PDEATHSIG = 1  # of Linux's prctl
# Whoever asks for no module of these packages, and not for DVC, runs by itself. A process that shares a
# training ends with its launcher: it would see to that itself, but in a fork it has another parent.
ASK = """#!{python} -IS
import json, os, socket, sys
name, *arguments = os.path.basename(sys.argv[0]), *sys.argv[1:]
if arguments[:2] == ["-u", "-m"]:
    del arguments[0]
module = name if name == "dvc" else arguments[1].partition(".")[0] if arguments[:1] == ["-m"] else ""
if module not in ("stages", "runner", "dvc", "tests", "torch"):
    os.execv({python!r}, [{python!r}, *arguments])
if "RANK" in os.environ:
    import ctypes, signal
    ctypes.CDLL(None).prctl({death}, signal.SIGKILL)
asked = json.dumps([name, arguments, {folder!r} + "/python", os.getcwd(), dict(os.environ)]).encode()
server = socket.socket(socket.AF_UNIX)
learns = module in ("stages", "tests", "torch") or arguments[1:2] == ["runner.forecast"]
server.connect({folder!r} + ("/stages.socket" if learns else "/dvc.socket"))
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
        text = ASK.format(python=sys.executable, folder=str(folder), length=LENGTH, death=PR_SET_PDEATHSIG)
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


def alone(file: str) -> ModuleType:
    """A module of the project that imports nothing of it, and is not found by its name."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, ROOT / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepare(kind: str) -> None:
    """Imports what takes long, fairseq as the project does; makes a configuration of fairseq's, and DVC fast.

    The first one takes a third of a second: Hydra looks for its plugins, and the grammar is built.
    """
    if kind == "stages":
        alone("src/nmtkd/network/slim_fairseq.py")
    for name in IMPORTED[kind]:
        importlib.import_module(name)
    alone("src/runner/lockfile.py").be_fast()
    if kind == "stages":
        from fairseq import options
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arguments = options.parse_args_and_arch(options.get_training_parser(), [*COMMAND])
            convert_namespace_to_omegaconf(arguments)
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
        asked = json.loads(file.read(int.from_bytes(head, "big")))
    if child := os.fork():
        for stream in streams:
            os.close(stream)
        threading.Thread(target=end_with, args=(connection, child), daemon=True).start()
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(OSError):  # nobody asks any more
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    name, arguments, sys.executable, folder, environment = asked
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    return name, arguments


def end_with(asking: socket.socket, child: int) -> None:
    """Kills a fork once whoever asked for it is gone."""
    asking.recv(1)
    os.kill(child, signal.SIGKILL)


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


def code(name: str, arguments: list[str]) -> int:
    """Runs a command to its end; its exit code."""
    try:
        run(name, arguments)
        found = 0
    except SystemExit as ended:
        found = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        found = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return found


if __name__ == "__main__":
    prepare(sys.argv[1])
    # To take apart all that was imported would take longer than most stages of a toy.
    os._exit(code(*serve(socket.socket(fileno=int(sys.argv[2])))))
