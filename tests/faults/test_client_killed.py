"""A client that is killed or frozen: its videos are ended in time, its streams are marked, and one that wakes goes on.

Times are taken from what the daemon notes: its log, and the ends in the run's index.
"""

from __future__ import annotations

import json
import signal
import time
from datetime import datetime

import zmq
from actors import SLOW_DAEMON
from proxy import Proxy

import films
import offcam
from envs import Barcode, play
from offcam_proto.codec import encode
from offcam_proto.limits import PROTOCOL_VERSION
from offcam_proto.messages import Hello, OpenStream
from offcam_runs.folder_lock import writer_of
from offcam_runs.format import INDEX_NAME
from offcam_runs.run import read_run
from waiting import freeze, wait_until

NOTICED_SECONDS = 5.0
FROZEN_SECONDS = 8.0
"""Two heartbeats that do not come (1 s and 4 s), the grace (2 s), and a second to finish the video."""

WHOLE = 3


def seconds(event: dict[str, str]) -> float:
    """When an event was logged, since the Unix epoch."""
    return datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).timestamp()


def ended(folder):
    """The listing once no clip and no stream is open in it, or None."""
    if not (folder / INDEX_NAME).exists():
        return None
    run = read_run(folder, "all")
    over = all(clip.state != "recording" for clip in run.clips) and all(each.state != "live" for each in run.streams)
    return run if run.clips and over else None


def test_a_killed_client_leaves_a_whole_file_and_a_flag(daemons, agents, tmp_path, offcam_command, capsys, within):
    daemons.start()
    folder = tmp_path / "run"
    agent = agents.start(folder, "--length", "60", "--pause", "0.002", "--whole", str(WHOLE), "--overflow", "block")
    wait_until(lambda: daemons.stats()["episodes"] == WHOLE, "episodes are stored")
    wait_until(lambda: daemons.stats()["frames"]["offered"] >= WHOLE * 61 + 10, "the endless one's video is being made")
    killed = time.time()
    agent.kill()
    agent.wait()
    run = wait_until(lambda: ended(folder), "its clip and its stream have ended")
    (stream,) = run.streams
    *whole, last = run.clips
    assert stream.state == "lost"
    assert (last.state, last.partial, last.complete) == ("aborted", True, None)
    assert [(clip.state, clip.partial) for clip in whole] == [("final", False)] * WHOLE
    took = max(last.ended, stream.ended) - killed
    within(took, NOTICED_SECONDS)
    numbers = films.numbers(folder / last.file)
    assert numbers == list(range(len(numbers)))
    assert last.frames == len(numbers) > 0
    assert {episode.episode for episode in run.episodes} == set(range(len(whole)))
    films.check(folder)

    listed = json.loads(offcam_command("ls", str(folder), "--json").stdout)
    assert [clip["partial"] for clip in listed["clips"]] == [False] * len(whole) + [True]
    assert listed["clips"][-1]["episode"] not in [episode["episode"] for episode in listed["episodes"]]
    assert "aborted, partial" in offcam_command("ls", str(folder)).stdout
    assert daemons.stats()["clips"]["aborted"] == 1
    daemons.stop()
    with capsys.disabled():
        print(f"\na killed client's video was final {took:.2f} s later")


def test_a_killed_client_spares_the_whole_video_of_an_earlier_run(daemons, agents, tmp_path):
    daemons.start()
    folder, name, part = tmp_path / "run", "agent-0-episode-0.mp4", "agent-0-episode-0-s2"
    env = offcam.RecordVideo(Barcode(20), str(folder), name_prefix="agent-0")
    play(env)
    env.close()
    whole = (folder / name).read_bytes()
    agent = agents.start(folder, "--length", "100000", "--pause", "0.002")
    wait_until(lambda: daemons.stats()["frames"]["offered"] >= 60, "its video is in the making")
    agent.kill()
    agent.wait()
    run = wait_until(lambda: ended(folder), "its clip and its stream have ended")
    assert [(clip.state, clip.file) for clip in run.clips] == [("final", name), ("aborted", f"{part}.mp4")]
    assert (folder / name).read_bytes() == whole
    numbers = films.numbers(folder / f"{part}.mp4")
    assert numbers == list(range(len(numbers)))
    films.check(folder)
    daemons.stop()


def within_an_episode(run) -> bool:
    """Not just before its clip ends, with its record stored."""
    return (
        bool(run.episodes) and run.clips[-1].state == "recording" and run.clips[-1].episode > run.episodes[-1].episode
    )


def test_a_frozen_client_is_noticed_and_goes_on_when_it_wakes(daemons, agents, tmp_path, capsys, within):
    daemons.start()
    folder = tmp_path / "run"
    agent = agents.start(folder, "--length", "500", "--pause", "0.002", "--overflow", "block")
    other = agents.start(tmp_path / "other", "--length", "20", "--pause", "0.002")
    wait_until(lambda: daemons.stats()["episodes"] >= 3 and (folder / INDEX_NAME).exists(), "both record")
    wait_until(
        lambda: within_an_episode(read_run(folder, "all")), "a video of an episode that goes on is in the making"
    )
    froze = time.time()
    freeze(agent.pid)
    run = wait_until(lambda: ended(folder), "its clip and its stream have ended")
    noticed = max(run.clips[-1].ended, run.streams[0].ended) - froze
    within(noticed, FROZEN_SECONDS)
    (broke,) = daemons.events("a connection broke")
    assert broke["pid"] == agent.pid
    assert run.streams[0].state == "lost"
    cut = run.clips[-1]
    assert (cut.state, cut.part, cut.partial) == ("aborted", 1, True)

    woke = time.time()
    agent.send_signal(signal.SIGCONT)
    run = wait_until(
        lambda: (now := read_run(folder, "all")).streams[0].state == "live" and now, "its stream is live again"
    )
    back = time.time() - woke
    episodes = len(run.episodes)
    wait_until(lambda: len(read_run(folder, "all").episodes) > episodes + 1, "it goes on")
    finished = agents.finish()
    run = read_run(folder, "all")
    assert [episode.episode for episode in run.episodes] == list(range(finished[0]))
    assert len(run.streams) == 1
    assert run.streams[0].state == "closed"
    (first, second) = (clip for clip in run.clips if clip.episode == cut.episode)
    assert (first.state, first.part, second.state, second.part) == ("aborted", 1, "final", 2)
    assert not first.partial  # its episode's end is known by now
    start, rest = (films.numbers(folder / clip.file) for clip in (first, second))
    assert start == list(range(len(start)))
    assert rest == list(range(rest[0], 501))
    films.check(folder)
    films.check(tmp_path / "other")
    assert len(read_run(tmp_path / "other", "all").episodes) == finished[1]
    assert other.returncode == 0
    daemons.stop()
    with capsys.disabled():
        print(f"\na frozen client was noticed after {noticed:.2f} s, and was back {back:.2f} s after it woke")


def test_a_client_that_is_busy_is_not_taken_for_a_frozen_one(daemons, agents, tmp_path):
    """One step takes longer than every timeout: the heartbeats are answered without Python."""
    daemons.start()
    folder = tmp_path / "run"
    agents.start(folder, "--length", "1", "--pause", str(FROZEN_SECONDS), "--least", "1", "--overflow", "block")
    assert agents.finish() == [1]
    (clip,) = read_run(folder, "all").clips
    assert (clip.state, clip.frames) == ("final", 2)
    assert not daemons.events("a connection broke")
    daemons.stop()


def test_clients_that_are_gone_before_they_are_heard(daemons, tmp_path, within):
    """They say who they are, open a stream and leave without a word, all at once."""
    daemons.start()
    with zmq.Context() as context:
        for number in range(100):
            peer = context.socket(zmq.DEALER)
            peer.connect(daemons.endpoint.url)
            identity = number.to_bytes(16, "big")
            hello = Hello(Hello.MAGIC, PROTOCOL_VERSION, identity, 1, "host", "test")
            folder = str(tmp_path / f"run{number % 5}")
            opening = OpenStream(
                handle=1, stream=identity, folder=folder, prefix=f"v{number}", suffix=0, video=True, env_id="Env",
                num_envs=1, vector=False, started=1.0,
            )  # fmt: skip
            for message in (hello, opening):
                peer.send_multipart(encode(message))
            peer.close(linger=-1)
    began = time.monotonic()
    wait_until(
        lambda: (
            sum(len(read_run(path, "all").streams) for path in tmp_path.glob("run*") if (path / INDEX_NAME).exists())
            == 100
        ),
        "all were heard",
    )
    wait_until(lambda: daemons.stats()["streams"] == 0, "their streams are ended")
    within(time.monotonic() - began, 2 * NOTICED_SECONDS)
    for number in range(5):
        wait_until(lambda number=number: writer_of(tmp_path / f"run{number}") is None, "the folder is let go")
        assert {stream.state for stream in read_run(tmp_path / f"run{number}", "all").streams} == {"lost"}
    daemons.stop()


def test_a_connection_that_is_renewed_while_frames_wait(daemons, runtime, tmp_path, monkeypatch, stack):
    """What an earlier connection left to be encoded ends later than the stream is opened again: that goes on."""
    gate = tmp_path / "gate"
    daemons.start(SLOW_DAEMON, "0", "--gate", str(gate))
    assert daemons.endpoint.path is not None
    proxy = Proxy(runtime / "p.sock", daemons.endpoint.path)
    stack.callback(proxy.close)
    monkeypatch.setenv("OFFCAM_ADDR", proxy.address)
    folder = tmp_path / "run"
    env = offcam.RecordEpisodeStatistics(offcam.RecordVideo(Barcode(1000), str(folder)))
    env.reset()
    for _ in range(20):
        env.step(0)
    assert env.flush()  # the client sends the last few when it is used next, and no step follows
    assert daemons.stats()["frames"]["offered"] == 21, "they have come, and wait at the gate"
    proxy.cut()
    wait_until(lambda: env.step(0) and len(read_run(folder, "all").clips) == 2, "a second part is begun")
    assert read_run(folder, "all").clips[0].state == "recording"
    gate.touch()
    wait_until(lambda: read_run(folder, "all").clips[0].state != "recording", "the first part is ended")
    assert writer_of(folder) is not None
    env.close()
    run = read_run(folder, "all")
    assert [(clip.part, clip.state) for clip in run.clips] == [(1, "aborted"), (2, "final")]
    assert [stream.state for stream in run.streams] == ["closed"]
    wait_until(lambda: writer_of(folder) is None, "the folder is let go")
    films.check(folder)
    daemons.stop()
