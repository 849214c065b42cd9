"""The command line as people and scripts use it: every verb, and every way in which one may end."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer

import runs
from commandline import COMMAND, WAIT_SECONDS, ForkServer, Offcam, one_line, only_json, run
from journal_samples import write_journal
from offcam_proto.errors import DaemonAlreadyRunning
from offcam_runs.format import INDEX_NAME
from offcamd.cli import app
from offcamd.process.instance_lock import read_lock
from offcamd.store import recovery
from offcamd.store.rescue import RecoveredClip
from run_samples import episode
from terminal import Terminal, plain
from waiting import freeze, wait_until


def leaves(command, path=()):
    """Every verb there is, by its words."""
    if inner := getattr(command, "commands", None):
        for name, each in inner.items():
            yield from leaves(each, (*path, name))
    else:
        yield path, command


VERBS = dict(leaves(typer.main.get_command(app)))


@pytest.fixture
def folder(tmp_path):
    return runs.write(tmp_path / "run", [1.0, 2.0, 3.0])


@pytest.fixture
def many(tmp_path):
    """A folder of three runs, one of them two folders below it."""
    for name in ("ppo/seed-0", "ppo/seed-1", "dqn"):
        runs.write(tmp_path / "runs" / name, [1.0, 2.0])
    return tmp_path / "runs"


@pytest.fixture
def here(folder, monkeypatch):
    """A working directory with a run in it."""
    monkeypatch.chdir(folder.parent)
    return folder.parent


# --- how tests run it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("--version",), ("ls", "run"), ("ls", "absent"), ("status", "--json")], ids=" ".join)
@pytest.mark.usefixtures("runtime")
def test_a_forked_one_does_what_a_start_does(words, folder, monkeypatch):
    """Also the name of ``offcam`` itself: all that is between a shell and a verb is here."""
    monkeypatch.chdir(folder.parent)
    forked = run(*words)
    for command in (COMMAND, [str(Path(sys.executable).with_name("offcam"))]):
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=WAIT_SECONDS)
        assert (done.returncode, done.stdout, done.stderr) == (forked.returncode, forked.stdout, forked.stderr)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each is a start")
@pytest.mark.skipif(any(name.startswith("COVERAGE_") for name in os.environ), reason="measured ones are starts")
def test_only_what_needs_no_start_is_forked():
    for more, forked in (
        ({}, True),
        ({"env": {**os.environ, "LC_ALL": "C"}}, False),
        ({"preexec_fn": os.getpid}, False),
    ):
        with Offcam("--version", stdout=subprocess.PIPE, **more) as process:
            parent = Path(f"/proc/{process.pid}/status").read_text().partition("PPid:\t")[2].split()[0]
            assert (process.forked, int(parent)) == (forked, os.getpid())
            assert process.wait(WAIT_SECONDS) == 0


# --- JSON -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_json_and_says_so_of_its_errors(verb):
    options = [name for parameter in VERBS[verb].params for name in parameter.opts]
    assert "--json" in options, f"`offcam {' '.join(verb)}` has no --json"
    done = run(*verb, "--json", "--nonsense")
    found = only_json(done.stdout)
    assert done.returncode == found["exit_code"] == 2
    assert found["meaning"]
    assert found["type"]
    assert "--nonsense" in found["error"]
    assert done.stderr == ""


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("status",), 1), (("top",), 1), (("ls", "absent"), 2), (("verify", "absent"), 2), (("recover", "absent"), 2),
        (("show", "absent"), 2), (("plot", "absent"), 2), (("export", "absent", "--to", "csv"), 2),
        (("view", "absent"), 2), (("keys", "revoke", "nobody"), 2), (("keys", "authorize", "absent"), 2),
        (("start", "--crf", "99"), 2), (("serve", "--crf", "99"), 2), (("nonsense",), 2), (("ls",), 2),
    ],
    ids=str,
)  # fmt: skip
def test_an_error_is_one_object_on_stdout(words, code):
    done = run(*words, "--json")
    found = only_json(done.stdout)
    assert (done.returncode, found["exit_code"]) == (code, code)
    assert found.keys() == {"error", "type", "exit_code", "meaning"}
    assert done.stderr == ""


def test_the_json_of_verbs_that_work(offcam, folder, tmp_path):
    assert only_json(offcam("start", "--json").stdout).keys() == {"pid", "endpoint", "http", "tcp"}
    info = only_json(offcam("start", "--json").stdout)
    assert only_json(offcam("top", "--json").stdout)["pid"] == info["pid"]
    stopped = only_json(offcam("stop", "--json").stdout)
    assert stopped == {"stopped": True, "pid": info["pid"], "endpoint": info["endpoint"]}
    assert only_json(offcam("stop", "--json").stdout)["stopped"] is False
    written = only_json(offcam("export", str(folder), "--to", "csv", "-o", str(tmp_path / "x.csv"), "--json").stdout)
    assert (written["rows"], written["files"]) == (3, [str(tmp_path / "x.csv")])
    drawn = only_json(offcam("plot", str(folder), "-o", str(tmp_path / "x.svg"), "--json").stdout)
    assert drawn == {"file": str(tmp_path / "x.svg"), "episodes": 3, "runs": 1}
    assert only_json(offcam("keys", "new", "--json").stdout)["new_server_key"] is True
    assert only_json(offcam("keys", "revoke", "client", "--json").stdout)["name"] == "client"


def test_serve_says_it_is_ready_as_json(serve, endpoint):
    process, line = serve("--json")
    assert (only_json(line)["pid"], only_json(line)["endpoint"]) == (process.pid, endpoint.url)


# --- folders of runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["ls", "verify", "show"])
def test_a_folder_of_runs_means_its_runs(many, verb):
    done = run(verb, many, "--json")
    assert done.returncode == 0, done.stderr
    names = [str(many / name) for name in ("dqn", "ppo/seed-0", "ppo/seed-1")]
    assert [each["folder"] for each in only_json(done.stdout)["runs"]] == names
    shown = run(verb, many).stdout
    assert all(f"{name}:" in shown for name in names)


def test_a_run_among_others_that_cannot_be_read_is_told_and_the_others_are_read(many):
    (many / "broken").mkdir()
    (many / "broken" / INDEX_NAME).write_text("no database" * 1000)
    done = run("verify", many)
    assert done.returncode == 2
    assert "broken is damaged" in one_line(done)
    assert done.stdout.count("all is well") == 3
    listed = only_json(run("ls", many, "--json").stdout)["runs"]
    assert [("error" in each, "episodes" in each) for each in listed] == [(True, False), *[(False, True)] * 3]


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (["nothing", "lossless"], 0), (["nothing", "nothing"], 1), (["nothing", "lossless", "lossy"], 3),
        (["lossy", None, "lossless"], 2),
    ],
    ids=str,
)  # fmt: skip
def test_recovering_several_runs_ends_with_the_worst(outcomes, code, tmp_path, monkeypatch, capsys):
    lost = {"nothing": None, "lossless": "", "lossy": "a frame"}
    paths = {runs.write(tmp_path / "runs" / str(place), []): outcome for place, outcome in enumerate(outcomes)}

    def recover(folder, _progress):
        if paths[folder] is None:
            raise DaemonAlreadyRunning("a daemon is writing it")
        loss = lost[paths[folder]]
        return recovery.Recovery([] if loss is None else [RecoveredClip("a.mp4", "recovered", 1, loss)])

    monkeypatch.setattr(recovery, "recover_folder", recover)
    with pytest.raises(typer.Exit) as left, typer.main.get_command(app).make_context(
        "offcam", ["recover", str(tmp_path / "runs")]
    ) as context:  # fmt: skip
        context.command.invoke(context)
    assert left.value.exit_code == code
    assert capsys.readouterr().out.count("runs/") == len(outcomes)


def test_recover_finds_unfinished_videos_below(tmp_path):
    """Also where no index was written: what they are is for recovery to say."""
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "rl-video-episode-0.mp4.part").write_bytes(b"\0" * 100)
    done = run("recover", tmp_path / "runs")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{tmp_path}/runs/a:\nnothing to recover." in done.stdout


def test_what_clients_left_is_listed_and_recovered(tmp_path):
    for name in ("a", "b"):
        write_journal(tmp_path / "runs" / name, *map(episode, range(3)))
    listed = run("ls", tmp_path / "runs" / "a")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "3 episodes\n" in listed.stdout
    assert "3 episodes wait in offcam.pending" in listed.stdout
    shown = only_json(run("show", tmp_path / "runs", "--json").stdout)
    assert [found["episodes"] for found in shown["runs"]] == [3, 3]
    done = run("recover", tmp_path / "runs")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("3 episodes that clients had left are in the index") == 2
    found = only_json(run("ls", tmp_path / "runs" / "a", "--json").stdout)
    assert (len(found["episodes"]), found["pending"]) == (3, 0)
    assert run("recover", tmp_path / "runs").returncode == 1  # nothing is left to do


# --- streams that cannot be written, names that are none --------------------------------------------------

SHORT = [
    ("--version",), ("--help",), ("ls", "run"), ("ls", "run", "--json"), ("export", "run", "--to", "csv", "-o", "-"),
]  # fmt: skip


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("words", SHORT, ids=" ".join)
def test_stdout_that_is_full(words):
    with Path("/dev/full").open("w") as full:
        assert "stdout (No space left on device)" in one_line(run(*words, stdout=full))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "words",  # it is seen before they are looked at
    [words if words == ("ls", "run") else pytest.param(words, marks=pytest.mark.slow) for words in SHORT],
    ids=" ".join,
)
def test_stdout_that_is_closed(words):
    done = run(*words, preexec_fn=functools.partial(os.close, 1))
    assert "stdout is closed" in one_line(done)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("words", SHORT, ids=" ".join)
def test_a_reader_that_has_gone_is_no_error(words):
    read, write = os.pipe()
    os.close(read)
    done = run(*words, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr.replace("stdout: 3 episodes\n", "")) == (128 + signal.SIGPIPE, "")


@pytest.mark.usefixtures("here")
def test_a_closed_stderr_or_stdin_is_no_error():
    for number in (0, 2):
        done = run("ls", "run", preexec_fn=functools.partial(os.close, number))
        assert done.returncode == 0
        assert "3 episodes" in done.stdout
    assert run("ls", "absent", preexec_fn=functools.partial(os.close, 2)).returncode == 2


@pytest.fixture
def odd(folder):
    """A run whose name is no UTF-8, and a file in it likewise."""
    path = folder.with_name(os.fsdecode(b"r\xfcn"))
    folder.rename(path)
    (path / os.fsdecode(b"old\xff.mp4")).write_bytes(b"")
    return path


@pytest.mark.parametrize("locale", ["C", *(pytest.param(name, marks=pytest.mark.slow) for name in (None, "C.UTF-8"))])
def test_names_that_are_no_utf8(odd, tmp_path, locale):
    """In the locale of whoever runs the tests, which is a UTF-8 one nearly everywhere, and in what there is without."""
    environment = dict(os.environ)
    if locale:
        environment |= {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with contextlib.closing(ForkServer(environment)) if locale else contextlib.nullcontext() as server:
        here = functools.partial(run, env=environment, server=server)
        for words in (
            *(("ls", odd), ("verify", odd), ("show", odd), ("verify", tmp_path), ("recover", odd)),
            *(("export", odd, "--to", form, "-o", tmp_path / "out") for form in ("csv", "jsonl", "parquet")),
            ("export", odd, "--to", "html", "-o", tmp_path / "page"),
            ("plot", odd, "-o", tmp_path / "figure.svg"),
        ):
            done = here(*words, *(["--force"] if words[0] == "export" else []))
            assert (done.returncode, done.stderr) == (1 if words[0] == "recover" else 0, ""), (words, done.stderr)
            assert done.stdout
        found = only_json(here("ls", odd, "--json").stdout)
        assert found["folder"] == str(odd)
        (note,) = only_json(here("verify", odd, "--json").stdout)["notes"]
        assert os.fsencode(note["file"]) == b"old\xff.mp4"
        assert "does not exist" in one_line(here("ls", odd.with_name(os.fsdecode(b"\xff"))))


@pytest.mark.parametrize("verb", ["ls", "verify", "recover", "show", "plot", "export", "view"])
def test_folders_that_are_none(verb, folder, tmp_path):
    more = {"export": ("--to", "csv"), "view": ("--no-browser",)}.get(verb, ())
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "absent", tmp_path / "file", tmp_path / ("x" * 300), folder / INDEX_NAME):
        one_line(run(verb, path, *more))


def obey_permissions():
    """Have root be refused what others are: give up CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH for what is run next."""
    if os.geteuid() == 0:
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture(scope="module")
def obedient():
    with contextlib.closing(ForkServer(preexec_fn=obey_permissions)) as server:
        yield server


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("verb", ["ls", "verify", "recover", "show", "plot", "export", "view"])
def test_a_folder_without_access(verb, folder, obedient):
    more = {"export": ("--to", "csv", "-o", "/dev/null"), "view": ("--no-browser",), "plot": ("-o", "/dev/null")}
    folder.chmod(0)
    try:
        for path in (folder, folder / "below"):
            text = one_line(run(verb, path, *more.get(verb, ()), server=obedient))
            assert "ermission" in text
            assert str(path) in text
        if verb == "verify":
            done = run(verb, folder.parent, server=obedient)
            assert "ermission" in one_line(done)
    finally:
        folder.chmod(0o700)


# --- leaving ----------------------------------------------------------------------------------------------


def test_ctrl_c_is_quiet(serve):
    process, _ = serve()
    freeze(process.pid)
    try:
        with Terminal([*COMMAND, "stop"]) as terminal:
            terminal.until("Waiting until")
            terminal.type("\x03")
            assert terminal.left() == 128 + signal.SIGINT
            assert terminal.as_before
            assert "Traceback" not in terminal.raw
            assert "Abort" not in terminal.raw
    finally:
        process.send_signal(signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.usefixtures("offcam")  # stops the daemon
@pytest.mark.parametrize("interrupted", [False, True], ids=["to the end", "ctrl-c"])
def test_the_demo_shows_no_lines_that_are_not_ours(runtime, endpoint, monkeypatch, interrupted):
    monkeypatch.setenv("SDL_VIDEODRIVER", "wayland,x11")  # which are not here
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    with Terminal([*COMMAND, "demo", str(runtime / "demo")]) as terminal:
        shown = terminal.until("recording 3 episodes")
        if interrupted:
            terminal.type("\x03")
        assert terminal.left() == (128 + signal.SIGINT if interrupted else 0), terminal.raw
    shown = plain(terminal.raw)
    for foreign in ("XDG_RUNTIME_DIR", "pygame", "ALSA", "Traceback", "KeyboardInterrupt"):
        assert foreign not in shown
    if not interrupted:
        assert shown.count("all is well") == 2


@pytest.mark.usefixtures("here")
def test_verbs_that_are_misspelt():
    assert "Did you mean 'ls'?" in one_line(run("lss"))
    assert "--all" in one_line(run("ls", "--alll", "run"))


@pytest.mark.usefixtures("runtime")
def test_variables_that_are_misspelt(serve):
    done = run("stop", env={**os.environ, "OFFCAM_ENCODRES": "2", "OFFCAM_OF_ANOTHER": "x"})
    assert done.returncode == 0
    assert done.stderr == "offcam: OFFCAM_ENCODRES is set and means nothing. Did you mean OFFCAM_ENCODERS?\n"
    os.environ["OFFCAM_SPOOLDIR"] = "x"
    try:
        process, _ = serve()
    finally:
        del os.environ["OFFCAM_SPOOLDIR"]
    process.terminate()
    _, err = process.communicate(timeout=WAIT_SECONDS)
    (said,) = [line for line in map(json.loads, err.splitlines()) if "variable" in line]
    assert (said["variable"], said["did_you_mean"]) == ("OFFCAM_SPOOLDIR", "OFFCAM_SPOOL_DIR")


# --- the daemon's log -------------------------------------------------------------------------------------


def test_a_health_check_leaves_no_line(serve, offcam):
    process, _ = serve()
    for _ in range(3):
        assert offcam("status", "--json").returncode == 0
    process.terminate()
    _, err = process.communicate(timeout=WAIT_SECONDS)
    events = [json.loads(line)["event"] for line in err.splitlines()]
    own = ("listening", "self-test", "stopping", "videos are encoded by x264")
    assert [event for event in events if event not in own] == []


def test_sighup_opens_the_log_anew(serve, runtime, endpoint):
    log = runtime / "offcam.log"
    process, _ = serve("--log-file", str(log), "--log-level", "debug")
    wait_until(lambda: "listening" in log.read_text(), "it has said where it listens")
    log.rename(runtime / "offcam.log.1")
    process.send_signal(signal.SIGHUP)
    while not log.exists():
        assert process.poll() is None
        threading.Event().wait(0.01)
    assert read_lock(endpoint).pid == process.pid
    process.terminate()
    process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0
    assert "listening" in (runtime / "offcam.log.1").read_text()
    assert "stopping" in log.read_text()


def test_a_terminal_that_closes_ends_a_daemon_though_it_has_a_log(runtime, endpoint):
    with contextlib.ExitStack() as stack:
        terminal = stack.enter_context(Terminal([*COMMAND, "serve", "--log-file", str(runtime / "log")]))
        terminal.until("offcam ready")
        assert read_lock(endpoint).pid == terminal.process.pid
        terminal.hang_up()
        assert terminal.process.wait(WAIT_SECONDS) == 0
    assert "SIGHUP" in (runtime / "log").read_text()
