"""What a host needs to run the daemon and to watch it: the files of ``deploy/``, wherever offcam is installed."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from offcam_proto.errors import ConfigError
from offcamd.process.atomic_file import replacing


@dataclass(frozen=True)
class DeployFile:
    """One file of ``deploy/``.

    Attributes:
        name: the name to ask for it by.
        file: its path below ``deploy/``.
        about: what it is, for people.
    """

    name: str
    file: str
    about: str

    def text(self) -> str:
        """The file's text.

        Raises:
            ConfigError: the file is missing in this installation.
        """
        return (deploy_folder() / self.file).read_text("utf-8")


_ALL = (
    DeployFile("systemd", "systemd/user/offcam.service", "systemd: one user's daemon"),
    DeployFile("systemd-boot", "systemd/system/offcam@.service", "systemd: a user's daemon, started at boot"),
    DeployFile("docker", "Dockerfile", "image of the daemon, built from the repository"),
    DeployFile("compose", "compose.yaml", "the daemon in a container, beside trainings"),
    DeployFile("kubernetes", "kubernetes.yaml", "a training's Job, with the daemon as its sidecar"),
    DeployFile("daemonset", "kubernetes-daemonset.yaml", "one recorder a node, for trainings in other pods"),
    DeployFile("kuberay", "kuberay.yaml", "a training by Ray whose pods record, with one page for all"),
    DeployFile("slurm", "slurm.sbatch", "a training on the nodes of a Slurm job, with a recorder on each"),
    DeployFile("config", "offcam.example.toml", "every setting with its default"),
    DeployFile("prometheus", "prometheus.yml", "scrape configuration"),
    DeployFile("alerts", "alerts.yml", "alert rules for Prometheus"),
    DeployFile("grafana", "grafana-dashboard.json", "dashboard for Grafana"),
    DeployFile("runbook", "RUNBOOK.md", "how to run the daemon, and what to do when"),
    DeployFile("scale", "SCALE.md", "how far one recorder a node and one page reach"),
    DeployFile("threat-model", "THREAT-MODEL.md", "who can reach what"),
    DeployFile("guarantees", "GUARANTEES.md", "what is promised, what was measured, and the test of each promise"),
)
FILES = {file.name: file for file in _ALL}


def deploy_folder() -> Path:
    """The folder of these files: inside the package in an installation, beside ``server/`` in a checkout.

    Raises:
        ConfigError: it is in neither of these places.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "deploy", package.parents[1] / "deploy"):
        if (folder / FILES["config"].file).is_file():
            return folder
    raise ConfigError(f"the files of deploy/ are not in {package}: install offcam again")


def named(names: list[str]) -> list[DeployFile]:
    """The files with these names, each once; all files where no name is given.

    Raises:
        ConfigError: there is no file of that name.
    """
    for name in names:
        if name not in FILES:
            near = difflib.get_close_matches(name, FILES, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"there is no file {name!r}. {hint}There are: {', '.join(FILES)}.")
    return [FILES[name] for name in dict.fromkeys(names or FILES)]


def write(files: list[DeployFile], folder: Path, *, force: bool) -> list[Path]:
    """Write files into a folder, each under its own name; if one may not be replaced, write none.

    Raises:
        ConfigError: such a file is there already, and ``force`` is not given; or a file cannot be written.
    """
    targets = [folder / Path(file.file).name for file in files]
    for path in targets:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is no regular file: give another folder")
        if path.exists() and not force:
            raise ConfigError(f"{path} is there already: give another folder, or --force to replace it")
    for file, path in zip(files, targets, strict=True):
        with replacing(path.resolve()) as unfinished:
            unfinished.write_text(file.text(), "utf-8")
    return targets
