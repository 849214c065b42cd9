"""The daemon's settings: flags > environment > ``offcam.toml`` > the user's config file > defaults.

`SPECS` is the one table of settings: the flags, the variables, the file's keys, the defaults and the help
all come from it. Standard library only, because ``offcam start`` runs while a training waits for it:
importing pydantic-settings alone took longer than everything `start` does (160 ms against 60).
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offcam_proto import host
from offcam_proto.endpoints import ADDR_VARIABLE, SOCKET_NAME, Endpoint
from offcam_proto.errors import ConfigError
from offcam_proto.keys import KEYS_VARIABLE, keys_directory
from offcam_proto.limits import MAX_CRF, PRESETS
from offcamd.config import values
from offcamd.config.values import Given, HttpAddress
from offcamd.video.h264 import ENCODERS

if TYPE_CHECKING:
    from offcam_runs.objects.layout import ObjectPlace

CONFIG_NAME = "offcam.toml"
HUB_SOCKET_NAME = f"hub-{SOCKET_NAME.removeprefix('daemon-')}"
"""A hub's own socket, beside that of the daemon that records on its host."""

HUB_TCP = "tcp://0.0.0.0:8721"
"""Where a hub listens by default."""

EMBEDDED_IDLE_SECONDS = 60
"""The default of ``idle_seconds``, in seconds, for a daemon that a wrapper starts."""

LOG_LEVELS = ("debug", "info", "warning", "error")
TOKEN_VARIABLE = "OFFCAM_HTTP_TOKEN"  # noqa: S105 - where the token is, not the token
SECRETS = (TOKEN_VARIABLE,)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a daemon; `SPECS` says what each is. Made, and checked, by `load`.

    ``endpoint`` is always ``ipc://``. ``tcp``, ``http`` and ``http_token`` are None where they are off,
    ``log_file`` for stderr. Limits are for all clips together.
    """

    endpoint: Endpoint
    tcp: Endpoint | None
    keys: Path
    root: Path
    videos: ObjectPlace | None
    http: HttpAddress | None
    http_token: str | None = field(repr=False)
    idle_seconds: float
    encoders: int
    memory_limit_bytes: int
    spool_limit_bytes: int
    disk_reserve_bytes: int
    steps_limit_bytes: int
    spool_dir: Path
    crf: int
    preset: str
    encoder: str
    log_level: str
    log_file: Path | None

    def as_flags(self) -> list[str]:
        """The command line that repeats all settings but `secrets`, for another process in another folder."""
        flags: list[str] = []
        for spec in SPECS:
            value = getattr(self, spec.field)
            if spec.variable in SECRETS:
                continue
            if spec.field == "endpoint":
                value = self.endpoint.url
            elif spec.field == "videos":
                value = "off" if self.videos is None else self.videos.url
            elif spec.field == "tcp":
                value = "off" if self.tcp is None else self.tcp.url
            elif spec.field == "http":
                value = "off" if self.http is None else self.http.netloc if self.http.asked else None
            if value is not None:
                flags += [spec.flag, str(value)]
        return flags

    def secrets(self) -> dict[str, str]:
        """The settings that a command line must not show (``ps`` shows it to everybody), as environment variables."""
        return {TOKEN_VARIABLE: self.http_token or ""}


# --- the table --------------------------------------------------------------------------------------------


def default_endpoint(environ: Mapping[str, str]) -> Endpoint:
    """Where this user's daemon is, or is to be, unless the user says otherwise."""
    return _found(environ).endpoint


def passed_over(endpoint: Endpoint) -> str:
    """Why the default endpoint is not a better one, as `host.Found.warning`; empty for one that the user named."""
    if endpoint.path is None or Path(endpoint.path).name != SOCKET_NAME or os.environ.get(ADDR_VARIABLE, "").strip():
        return ""
    found = _found(os.environ)
    return found.warning if found.endpoint == endpoint else ""


def _found(environ: Mapping[str, str]) -> host.Found:
    return host.find({**environ, ADDR_VARIABLE: ""}, os.getuid())


MOST_ENCODERS = 8
"""Most encoders where no number is set: each is a process of about 50 MB once it has something to do."""


def _encoders() -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST_ENCODERS)


def default_spool_dir(_environ: Mapping[str, str]) -> str:
    """The default folder for frames that wait on disk: in the user's cache, if there can be one."""
    from platformdirs import user_cache_path  # noqa: PLC0415 - only where the default is needed

    try:
        cache = user_cache_path("offcam")
    except RuntimeError:  # an unknown user; older versions of platformdirs return a relative path
        cache = Path(".cache", "offcam")
    return str(Path("/") / cache / "spool")


def _remote_runs(environ: Mapping[str, str]) -> str:
    return os.path.join(environ.get("HOME") or "/", "offcam-runs")  # noqa: PTH118 - "~" fails where nobody has a home


@dataclass(frozen=True, slots=True)
class Spec:
    """One setting.

    Attributes:
        field: its name in `Settings`.
        parse: makes a `Given` the field's value; raises ConfigError.
        default: the default as a user would write it, or a function of the environment that returns it.
        help: one line for ``--help``.
        variable: the name of its environment variable.
    """

    field: str
    parse: Callable[[Given], Any]
    default: object | Callable[[Mapping[str, str]], object]
    help: str
    variable: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "variable", self.variable or f"OFFCAM_{self.key.upper()}")

    @property
    def key(self) -> str:
        """Its name in config files; that of a size has no ``_bytes``, as the value there may have a unit."""
        return self.field.removesuffix("_bytes")

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def metavar(self) -> str:
        """The kind of its value, for ``--help``, by the field's type."""
        return "<size>" if self.field.endswith("_bytes") else _METAVARS[Settings.__annotations__[self.field].split()[0]]


_METAVARS = {
    "Endpoint": "<url>",
    "HttpAddress": "<host:port>",
    "ObjectPlace": "<url>",
    "Path": "<path>",
    "float": "<seconds>",
    "int": "<int>",
    "str": "<str>",
}

SPECS: tuple[Spec, ...] = (
    Spec(
        "endpoint",
        values.endpoint,
        lambda environ: default_endpoint(environ).url,
        "The daemon's socket: ipc:///absolute/path. tcp://HOST:PORT means the default socket and --tcp.",
        variable=ADDR_VARIABLE,
    ),
    Spec("tcp", values.tcp_endpoint, "off", "Where other hosts reach the daemon, with keys: tcp://HOST:PORT or off."),
    Spec("keys", values.keys_directory, keys_directory, "Directory of the keys for --tcp.", variable=KEYS_VARIABLE),
    Spec("root", values.path, _remote_runs, "Folder of the runs of other hosts, ~/offcam-runs by default."),
    Spec(
        "videos",
        values.object_place,
        "off",
        "Object storage from which a hub may fetch the videos of runs that are pushed to it, for example s3://bucket/runs.",
    ),
    Spec(
        "http",
        values.http_address,
        "127.0.0.1:8720",
        "Where its page and statistics are served over HTTP: HOST:PORT or off.",
    ),
    Spec(
        "http_token",
        values.token,
        None,
        "Secret that HTTP requests must carry; required where other hosts reach --http.",
    ),
    Spec(
        "idle_seconds",
        values.number(0, 1e9, "a number of seconds, 0 for never"),
        0,
        "Leave after so many seconds without a client; 0 for never.",
    ),
    Spec("encoders", values.integer(1, 256), lambda _environ: _encoders(), "Processes that encode, at most."),
    Spec("memory_limit_bytes", values.memory_size, "512MiB", "Frames kept in memory at most, for example 512MiB."),
    Spec(
        "spool_limit_bytes", values.size, "4GiB", "Frames kept on disk at most once memory is full, for example 4GiB."
    ),
    Spec(
        "disk_reserve_bytes",
        values.size,
        "64MiB",
        "Room that videos leave free on a disk for the index; a twentieth of a smaller disk.",
    ),
    Spec(
        "steps_limit_bytes",
        values.size,
        "1GiB",
        "Most bytes of a run's steps on its disk, where its wrapper sets no other limit.",
    ),
    Spec("spool_dir", values.path, default_spool_dir, "Folder of the frames kept on disk."),
    Spec("crf", values.integer(0, MAX_CRF), 23, "Quality: x264's constant rate factor, 0 (lossless) to 51."),
    Spec("preset", values.choice(*PRESETS), "flat", "x264's preset, or flat, offcam's own for rendered pictures."),
    Spec(
        "encoder",
        values.choice(*ENCODERS),
        "x264",
        "x264, or one in hardware: h264_nvenc, h264_vaapi, h264_videotoolbox, or auto. x264 where that does not work.",
    ),
    Spec(
        "log_level",
        values.choice(*LOG_LEVELS),
        "info",
        "Least severe message to log: debug, info, warning or error.",
        variable="OFFCAM_LOG",
    ),
    Spec("log_file", values.optional_path, None, "Log to this file, kept small, instead of stderr."),
)
_BY_KEY = {spec.key: spec for spec in SPECS}


# --- where values come from -------------------------------------------------------------------------------


def load(
    flags: Mapping[str, object] | None = None,
    *,
    config: Path | None = None,
    embedded: bool = False,
    hub: bool = False,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """Gather the settings from all sources, and check them.

    Args:
        flags: values of the command line by key; None for those that are not given.
        config: a config file instead of ``offcam.toml`` in the working directory.
        embedded: whether a wrapper starts the daemon: it then ends when idle by default, and listens where the
            wrapper looks for it, whatever a file says.
        hub: whether the daemon is a hub: it then has a socket of its own, whatever but a flag says, and listens for
            other hosts by default.
        environ: the environment, ``os.environ`` by default.
        cwd: the working directory, the process's by default.

    Raises:
        ConfigError: a value is wrong, or a file cannot be read or has unknown keys.
    """
    environ = os.environ if environ is None else environ
    given = _gather(flags or {}, config, environ, cwd, embedded=embedded)
    if hub:
        _settle_hub(given, flags or {}, environ)
    _settle_tcp(given, environ, embedded=embedded)
    settings = Settings(**{spec.field: spec.parse(given[spec.key]) for spec in SPECS})
    if settings.http and not settings.http.loopback and not settings.http_token:
        raise ConfigError(
            f"{given['http'].source} is {settings.http.netloc}, which other hosts can reach: that needs a token. Set "
            f"{TOKEN_VARIABLE}, for example to what `openssl rand -hex 16` prints, or keep HTTP on 127.0.0.1."
        )
    return settings


def _settle_hub(given: dict[str, Given], flags: Mapping[str, object], environ: Mapping[str, str]) -> None:
    """Give a hub its own defaults: where this host's recorder is means nothing to it."""
    if flags.get("endpoint") is None:
        path = Path(str(default_endpoint(environ).path))
        given["endpoint"] = replace(given["endpoint"], value=f"ipc://{path.with_name(HUB_SOCKET_NAME)}", asked=False)
    if not given["tcp"].asked:
        given["tcp"] = replace(given["tcp"], value=HUB_TCP)


def _settle_tcp(given: dict[str, Given], environ: Mapping[str, str], *, embedded: bool) -> None:
    """Split an endpoint of ``tcp://``: the daemon has a Unix socket in any case, and listens on TCP beside it."""
    endpoint = given["endpoint"]
    if str(endpoint.value).strip().startswith("tcp://"):
        given["endpoint"] = replace(endpoint, value=default_endpoint(environ).url)
        if not given["tcp"].asked:
            given["tcp"] = endpoint
    if embedded:  # only for wrappers on this host
        given["tcp"] = replace(given["tcp"], value=None)


def load_endpoint(flag: str | None, *, config: Path | None = None) -> Endpoint:
    """The endpoint alone, as a client would use it, so that a wrong ``crf`` keeps nobody from asking a daemon.

    Raises:
        ConfigError: the endpoint is wrong, or a file cannot be read or has unknown keys.
    """
    return values.endpoint(_gather({"endpoint": flag}, config, os.environ)["endpoint"])


def load_keys(flag: Path | None) -> Path:
    """The directory of the keys alone, found as `load` finds it, with the same errors."""
    return values.keys_directory(_gather({"keys": flag}, None, os.environ)["keys"])


def _gather(
    flags: Mapping[str, object],
    config: Path | None,
    environ: Mapping[str, str],
    cwd: Path | None = None,
    *,
    embedded: bool = False,
) -> dict[str, Given]:
    """The value for each key from its strongest source."""
    cwd = cwd or working_directory()
    given: dict[str, Given] = {}
    for path in reversed(config_files(config, environ, cwd)):
        for key, value in _read_file(path).items():
            given[key] = Given(value, f"{key} in {path}", path.parent)
    if embedded:
        given.pop("endpoint", None)
        given.setdefault("idle_seconds", Given(EMBEDDED_IDLE_SECONDS, "the default of idle_seconds", cwd))
    for spec in SPECS:
        if text := environ.get(spec.variable, "").strip():
            given[spec.key] = Given(text, spec.variable, cwd)
        if flags.get(spec.key) is not None:
            given[spec.key] = Given(flags[spec.key], spec.flag, cwd)
        if spec.key not in given:
            default = spec.default(environ) if callable(spec.default) else spec.default
            given[spec.key] = Given(default, f"the default of {spec.key}", cwd, asked=False)
    return given


def working_directory() -> Path:
    """The working directory; the root if it was removed, as nothing relative can be meant then."""
    try:
        return Path.cwd()
    except OSError:  # it was removed, or may not be read
        return Path("/")


def config_files(config: Path | None, environ: Mapping[str, str], cwd: Path) -> list[Path]:
    """The existing config files, the strongest first. Raises ConfigError if ``config`` does not exist."""
    if config is not None:
        path = cwd / config.expanduser()
        if not path.is_file():
            raise ConfigError(f"--config names {str(path)!r}, and there is no such file. Fix the path.")
        candidates = [path]
    else:
        candidates = [cwd / CONFIG_NAME]
    candidates.append(user_config_file(environ))
    return [path for path in candidates if os.path.isfile(path)]  # noqa: PTH113 - Path.is_file may raise


def user_config_file(environ: Mapping[str, str]) -> Path:
    """The path of the user's own config file, existing or not: ``$XDG_CONFIG_HOME/offcam/offcam.toml``."""
    home = environ.get("XDG_CONFIG_HOME")
    folder = Path(home) if home else Path(environ.get("HOME") or "/", ".config")
    return folder / "offcam" / CONFIG_NAME


def _read_file(path: Path) -> dict[str, object]:
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - most starts read no file
    else:
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - 3.10 only
    try:
        found: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}. Make it readable, or remove it.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}. Fix it there.") from error
    for key in found:
        if key not in _BY_KEY:
            near = difflib.get_close_matches(key, _BY_KEY, 1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(_BY_KEY)}."
            raise ConfigError(f"{path} has an unknown setting {key!r}. {hint}")
    return found
