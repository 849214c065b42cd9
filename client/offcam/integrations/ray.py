"""Ray: one recorder for each node, to which all workers of the node record.

In a worker, use this in place of `offcam.record`, with the same arguments::

    from offcam.integrations.ray import record
    env = record(gym.make("CartPole-v1", render_mode="rgb_array"), "/shared/runs/ppo", every=100)

or keep the code that records as it is, `offcam.record`, a wrapper or an adapter, and have all workers set up::

    ray.init(runtime_env={"worker_process_setup_hook": "offcam.integrations.ray.setup"})

`connect` does that for one worker, from within it.

A node's recorder is a detached actor, ``offcam-<node id>``, that has a daemon listen on the node and starts another one
if that dies. Frames go to the daemon through shared memory, never through Ray's objects; only its address does. The
daemon leaves by itself after a long idle time, even if Ray is gone by then.

With a URL in place of the folder, as ``s3://bucket/ppo``, each node records onto its own disk, and its recorder sends
that to object storage while it is recorded; the driver calls `flush` in the end.

It needs the package: ``pip install "offcam[ray,server]"`` on each node, with a URL ``"offcam[ray,server,objects]"``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import offcam
from offcam import logger
from offcam.connection.launch import listening, start_embedded
from offcam.connection.settings import before_first_use, embedded_endpoint
from offcam.integrations.missing import needs
from offcam.integrations.ray_sending import NodeSending, SentRun
from offcam.recorder import settings, training
from offcam.sync import check_tracker
from offcam.sync.local_limit import check_limit
from offcam.wrappers import arguments
from offcam_proto.endpoints import parse_endpoint
from offcam_proto.errors import ConfigError, DaemonUnavailable
from offcam_runs.objects.layout import ObjectPlace, is_url

with needs("ray", "Ray", "ray"):
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from gymnasium import Env
    from gymnasium.vector import VectorEnv

__all__ = ["addresses", "connect", "flush", "record", "setup"]

NAMESPACE: Final = "offcam"
"""Ray's namespace of the recorders, which belong to a cluster and not to a job."""

ANSWER_SECONDS: Final = 30.0
"""How long a worker waits for its node's recorder before it records by itself."""

LOOK_SECONDS: Final = 0.5
"""How often a recorder checks that its daemon listens, and that what is to be sent is being sent."""

HOME: Final = "~/offcam-runs"
"""Where a node's runs are that are sent to object storage, unless ``OFFCAM_DIR`` names another folder."""


def record(
    env: Env[Any, Any] | VectorEnv[Any, Any, Any],
    folder: arguments.Folder,
    *,
    local_limit: str | None = None,
    **options: Any,  # noqa: ANN401 - as of `offcam.record`
) -> Any:  # noqa: ANN401 - likewise
    """As `offcam.record`, through this node's recorder.

    Args:
        env: as of `offcam.record`.
        folder: absolute path, the same on all nodes, or the URL of a place in object storage. Each node makes its own
            run folder in it, ``node-<id>``, as the index of a run has one writer. All verbs take the whole folder or
            URL, `offcam.load` takes ``[folder + "/*"]`` or ``[url]``.
        local_limit: with a URL, most bytes of each node's run folder, as ``"20GB"``: the oldest videos that are in
            object storage are removed on the node, then the oldest files of steps. By default all stay.
        options: as of `offcam.record`.

    Raises:
        ConfigError: the folder's path is not absolute, the URL is none of object storage, ``local_limit`` is no size or
            has no URL, or Ray is not initialized.
    """
    given = arguments.folder(folder)
    place = ObjectPlace.parse(given) if is_url(given) else None
    if place is None:
        _check_absolute(given)
        if local_limit is not None:
            raise ConfigError(f"local_limit is for runs in object storage, and {given} is a folder: leave it out")
    else:
        check_tracker(place.url)
        check_limit(local_limit)
    connect()
    node = f"node-{_node()[:12]}"
    if place is None:
        return offcam.record(env, os.path.join(given, node), **options)
    run = SentRun(os.path.join(_on_this_node(place), node), place.below(node).url, local_limit or "")
    recorded = offcam.record(env, run.folder, **options)
    if settings.enabled():
        _recorder(_node()).send.remote(run, str(ray.get_runtime_context().get_job_id()))
    return recorded


def connect() -> None:
    """Have what this process records go to its node's recorder, which is started if there is none.

    Call it in a task or an actor; `setup` is for Ray's ``worker_process_setup_hook``. If ``OFFCAM_ADDR`` names a daemon
    already, that one is used. The workers of one job belong to one session. If the recorder cannot be reached, a
    warning says why, and this process records as it does without Ray.

    Raises:
        ConfigError: Ray is not initialized.
    """
    _check_initialized()
    if os.environ.get("OFFCAM_ADDR"):
        return
    job = ray.get_runtime_context().get_job_id()
    training.join(hashlib.sha256(f"{_cluster()} {job}".encode()).digest()[:16])
    try:
        os.environ["OFFCAM_ADDR"] = ray.get(_recorder(_node()).address.remote(), timeout=ANSWER_SECONDS)
    except (RayError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        logger.warn(f"This node's offcam recorder cannot be had ({reason[0]}): this worker records by itself.")


def setup() -> None:
    """Have a worker call `connect` by itself, once it records; for Ray's ``worker_process_setup_hook``.

    Not at once, as Ray's workers cannot call an actor before they have their first task (Ray 2.60 aborts). A worker
    records into the folder that it names: give those of several nodes one each, as an index has one writer.
    """
    before_first_use(connect)


def flush(timeout: float) -> bool:
    """Have all of the cluster's recorders send what they have; call it in the driver, once all envs are closed.

    Waits at most ``timeout`` seconds. Returns whether all is in object storage: not what is on a node that died.

    Raises:
        ConfigError: Ray is not initialized.
    """
    _check_initialized()
    deadline = time.monotonic() + timeout
    recorders = _recorders()
    with contextlib.suppress(RayError):  # of a node that dies now; it is asked again below
        ray.get([each.end.remote() for each in recorders.values()], timeout=timeout)
    while recorders:
        for node, recorder in list(recorders.items()):
            try:
                sends = ray.get(recorder.left.remote(), timeout=max(deadline - time.monotonic(), 0.0))
            except RayError:
                return False
            if not any(sends.values()):
                del recorders[node]
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def addresses() -> dict[str, str]:
    """The address of each recorder that is alive, by node id.

    Raises:
        ConfigError: Ray is not initialized.
    """
    _check_initialized()
    found = {}
    for node, recorder in _recorders().items():
        with contextlib.suppress(RayError):  # it dies now
            found[node] = ray.get(recorder.address.remote(), timeout=ANSWER_SECONDS)
    return found


class Recorder:
    """Has a daemon listen on its node while anybody records there. Lives in an actor's process.

    Args:
        node: id of the node; one machine may have several.
    """

    def __init__(self, node: str) -> None:
        directory = os.path.dirname(str(embedded_endpoint().path))
        self._endpoint = parse_endpoint(f"ipc://{directory}/ray-{node[:12]}.sock", "the recorder's address")
        self._sending = NodeSending()
        threading.Thread(target=self._watch, name="offcam-ray", daemon=True).start()

    def address(self) -> str:
        """Where the daemon listens, which is started if none runs: a URL, for ``OFFCAM_ADDR``.

        Raises:
            DaemonUnavailable: no daemon can be started; the message says why.
        """
        start_embedded(self._endpoint, ANSWER_SECONDS)
        return self._endpoint.url

    def send(self, run: SentRun, job: str) -> None:
        """Send a run that a job records, from now on."""
        self._sending.add(run, job)

    def end(self) -> None:
        """Nothing more is recorded: have all sent."""
        self._sending.end()

    def left(self) -> dict[str, bool]:
        """See `NodeSending.left`."""
        return self._sending.left()

    def _watch(self) -> None:
        """Start another daemon where this one died, which leaves its socket's file; an idle one takes that along."""
        while True:
            time.sleep(LOOK_SECONDS)
            try:
                self._sending.look()
            except OSError as error:  # no process can be made
                logger.warn(f"Runs of this node are not sent, and it is tried again: {error}")
            if os.path.exists(str(self._endpoint.path)) and not listening(self._endpoint):
                self._start()

    def _start(self) -> None:
        try:
            start_embedded(self._endpoint, ANSWER_SECONDS)
        except DaemonUnavailable as error:
            logger.warn(f"The offcam daemon of this node is gone, and could not be started again: {error}")


def _recorder(node: str) -> Any:  # noqa: ANN401 - Ray's handle
    """The handle of a node's recorder."""
    options: dict[str, Any] = {
        "name": f"offcam-{node}",
        "namespace": NAMESPACE,
        "get_if_exists": True,
        "lifetime": "detached",
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 3,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
    }
    return ray.remote(Recorder).options(**options).remote(node)


def _recorders() -> dict[str, Any]:
    """The handles of all recorders, by node id."""
    found = {}
    for node in (node["NodeID"] for node in ray.nodes() if node["Alive"]):
        with contextlib.suppress(ValueError):  # the node has none, or none any more
            found[node] = ray.get_actor(f"offcam-{node}", NAMESPACE)
    return found


def _check_initialized() -> None:
    if not ray.is_initialized():
        raise ConfigError("Ray is not initialized, so there are no nodes: call ray.init() first, or use offcam.record.")


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _cluster() -> str:
    return str(ray.get_runtime_context().gcs_address)


def _on_this_node(place: ObjectPlace) -> str:
    """The folder of the runs that are sent to a place."""
    home = os.environ.get("OFFCAM_DIR", "")
    return os.path.join(home if os.path.isabs(home) else os.path.expanduser(HOME), *place.url.split("/")[2:])


def _check_absolute(folder: str) -> None:
    if not os.path.isabs(folder):
        raise ConfigError(
            f"folder must be an absolute path, got {folder!r}: each of Ray's workers has another working directory. "
            f"Pass {os.path.abspath(folder)!r}, say, if all nodes have it, or the URL of a place in object storage."
        )
