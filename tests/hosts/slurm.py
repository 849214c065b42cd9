"""A cluster of Slurm's: its real daemons, of which those of all nodes run on this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import ports
from waiting import HANG_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODES = ("n1", "n2")
CONFIGURATION = """\
ClusterName=offcam
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.sock,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmctldPort={port}
FirstJobId={job}
ReturnToService=2
MpiDefault=none
KillWait=30
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/%n.pid
SlurmdSpoolDir={place}/spool-%n
StateSaveLocation={place}/state
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} State=UNKNOWN"


def problem() -> str:
    """Why there can be none here; empty where there can."""
    if os.geteuid() != 0:
        return "Slurm's daemons want to be root's"
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    return f"{', '.join(missing)} of Slurm not installed: apt-get install slurm-wlm" if missing else ""


def run(environment: dict[str, str], name: str, *words: str, folder: Path | None = None) -> str:
    """What a command of Slurm's prints."""
    path = shutil.which(name)
    assert path
    return subprocess.run(
        (path, *words), env=environment, cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


@contextmanager
def cluster(place: Path) -> Iterator[dict[str, str]]:
    """Run one, with what it keeps in a folder of a short path; gives the environment for its commands."""
    host = os.uname().nodename.partition(".")[0]
    key = place / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    with ExitStack() as stack:
        taken = [stack.enter_context(ports.one()) for _ in range(1 + len(NODES))]
        nodes = [
            NODE.format(name=name, host=host, port=port, cpus=os.cpu_count())
            for name, port in zip(NODES, taken[1:], strict=True)
        ]
        configuration = place / "slurm.conf"
        settings = {"host": host, "place": place, "port": taken[0], "job": _first_job(), "nodes": "\n".join(nodes)}
        configuration.write_text(CONFIGURATION.format(**settings))
        environment = {**os.environ, "SLURM_CONF": str(configuration)}
        (place / "state").mkdir()
        where = {"socket": "munge.sock", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
        words = [f"--{option}={place / name}" for option, name in where.items()]
        munged = ("munged", "--foreground", "--force", f"--key-file={key}", *words)
        for daemon in (munged, ("slurmctld", "-D"), *(("slurmd", "-D", "-N", name) for name in NODES)):
            _run(stack, daemon, environment, place)
            if daemon is munged:
                wait_until((place / "munge.sock").exists, "munged listens")
        wait_until(
            lambda: _answers(environment) and _idle(environment) == len(NODES),
            "the nodes are there",
            lambda: _logs(place),
        )
        yield environment


def _first_job() -> int:
    """The number of a cluster's first job: the batch script names a directory of the node after it, and the clusters of
    several processes of tests have one machine for a node."""
    return 1 + secrets.randbelow(60_000_000)


def _run(stack: ExitStack, words: tuple[str, ...], environment: dict[str, str], place: Path) -> None:
    with (place / f"{'-'.join(words[:1] + words[3:])[:20].replace('/', '-')}.out").open("wb") as log:
        process = stack.enter_context(
            subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        )
    stack.callback(process.wait, HANG_SECONDS)
    stack.callback(process.terminate)


def _idle(environment: dict[str, str]) -> int:
    """How many nodes wait for work."""
    said = run(environment, "sinfo", "--noheader", "--Node", "--states=idle", "--format=%N %t")
    return said.count(" idle\n")


def _answers(environment: dict[str, str]) -> bool:
    try:
        return "is UP" in run(environment, "scontrol", "ping")
    except subprocess.CalledProcessError:
        return False


def _logs(place: Path) -> str:
    return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-2000:]}" for path in sorted(place.glob("*.out")))
