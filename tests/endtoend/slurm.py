"""A Slurm without root's services: daemons of its own in a folder, on ports of its own.

Its nodes are of this host: the name of one is the host's, those of several are their numbers' too.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "squeue", "scancel")
CORES = 4  # that the node is said to have: jobs of several stages at once
LIMIT = 60.0  # seconds until the node is idle
CONFIGURATION = """
ClusterName=toy
SlurmctldHost={host}
SlurmUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=600
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=toy Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.{place} Port={port} CPUs={cores} State=UNKNOWN"


class Slurm:
    """The daemons. `why` says why they do not run, or is empty."""

    def __init__(self, folder: Path, nodes: int = 1) -> None:
        self.folder, self.why = folder, ""
        host = platform.node().partition(".")[0]
        self.nodes = [host] if nodes == 1 else [f"{host}{number}" for number in range(nodes)]
        self.env = {"SLURM_CONF": f"{folder}/slurm.conf"}
        self._daemons: list[subprocess.Popen[bytes]] = []
        missing = [name for name in PROGRAMS if find(name) is None]
        if missing:
            self.why = (
                f"Slurm is not installed: {', '.join(missing)} missing (apt-get install slurm-wlm munge)"
            )
        elif os.getuid():
            self.why = "Slurm's daemons need root here"
        else:
            self._start()

    def _start(self) -> None:
        (self.folder / "state").mkdir()
        for node in self.nodes:
            (self.folder / f"spool-{node}").mkdir()
        host = platform.node().partition(".")[0]
        lines = [
            NODE.format(name=name, host=host, place=place, port=free_port(), cores=CORES)
            for place, name in enumerate(self.nodes, start=1)
        ]
        text = CONFIGURATION.format(host=host, port=free_port(), folder=self.folder, nodes="\n".join(lines))
        (self.folder / "slurm.conf").write_text(text, encoding="utf-8")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        places = {"key-file": key.name, "socket": "munge.socket", "pid-file": "munge.pid",
                  "log-file": "munge.log", "seed-file": "munge.seed"}  # fmt: skip
        options = [f"--{name}={self.folder / place}" for name, place in places.items()]
        self._begin("munged", "--foreground", "--force", *options)
        self._begin("slurmctld", "-D")
        for node in self.nodes:
            self._begin("slurmd", "-D", "-N", node)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            if self.ask("sinfo", "--noheader", "--Node", "--format=%T").split() == ["idle"] * len(self.nodes):
                return
            time.sleep(0.2)
        self.why = f"Slurm's node did not come up within {LIMIT:g} s: {self._last()}"
        self.close()

    def _begin(self, name: str, *options: str) -> None:
        program = find(name)
        assert program is not None
        self._daemons.append(
            subprocess.Popen(
                [program, *options],
                env={**os.environ, **self.env},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def _last(self) -> str:
        daemons = ("munge", "slurmctld", *(f"slurmd-{node}" for node in self.nodes))
        logs = [self.folder / f"{name}.log" for name in daemons]
        lines = [log.read_text(errors="replace").splitlines()[-1:] for log in logs if log.exists()]
        return "; ".join(line for last in lines for line in last)

    def ask(self, *command: str) -> str:
        """What a command of Slurm's prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.env}, capture_output=True, text=True, check=False
        )
        return done.stdout

    def jobs(self) -> list[str]:
        """Jobs that wait or run."""
        return self.ask("squeue", "--noheader", "--format=%i %j %T").splitlines()

    def wait(self, running: int) -> None:
        """Until so many jobs run."""
        end = time.monotonic() + LIMIT
        while sum("RUNNING" in job for job in self.jobs()) != running:
            assert time.monotonic() < end, f"{self.jobs()} are not {running}"
            time.sleep(0.1)

    def close(self) -> None:
        """Ends the daemons."""
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        self._daemons.clear()


def find(program: str) -> str | None:
    """Daemons lie where no user's PATH leads."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
