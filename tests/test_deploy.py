from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from offcam_runs.format import CLIP_STATES
from offcamd.cli import app
from offcamd.config.settings import SPECS, load
from offcamd.encode.histogram import Histogram
from offcamd.web.metrics import Exporter

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
EXAMPLE = DEPLOY / "offcam.example.toml"
UNITS = sorted(DEPLOY.glob("systemd/*/*.service"))
SETTING = re.compile(r"^# (\w+) = ", re.MULTILINE)


def uncommented() -> str:
    return SETTING.sub(r"\1 = ", EXAMPLE.read_text())


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No configuration but what the test gives."""
    for variable in (
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
        "XDG_CACHE_HOME",
        "OFFCAM_ADDR",
        "OFFCAM_LOG",
        "OFFCAM_HTTP",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("alone")
def test_the_example_configuration_changes_nothing_as_it_is():
    assert load(config=EXAMPLE) == load()


@pytest.mark.usefixtures("alone")
def test_the_example_configuration_has_every_setting_with_its_default(tmp_path):
    given = tomllib.loads(uncommented())
    assert list(given) == [spec.key for spec in SPECS]
    (tmp_path / "all.toml").write_text(uncommented())
    all_given, default = load(config=tmp_path / "all.toml"), load()
    for spec in SPECS:
        # those left out are the host's, or none by default
        if spec.field not in ("endpoint", "tcp", "encoders", "log_file", "http", "http_token"):
            assert getattr(all_given, spec.field) == getattr(default, spec.field), spec.key
    assert all_given.http.netloc == default.http.netloc


def test_the_example_configuration_names_every_flag_and_variable():
    text = EXAMPLE.read_text()
    for spec in SPECS:
        assert spec.flag in text
        assert re.search(rf"\b{spec.variable}\b", text)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units(unit, tmp_path, monkeypatch):
    text = unit.read_text()
    assert "RuntimeDirectoryMode=0700" in text
    assert "AF_UNIX" in text
    assert "Type=exec" in text
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not here")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    copy = tmp_path / unit.name.replace("@", "@root")
    copy.write_text(text)
    done = subprocess.run(
        [analyze, "verify", *(["--user"] if unit.parent.name == "user" else []), str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if copy.name in line]
    assert complaints == []
    assert done.returncode == 0, done.stderr


def test_compose():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = compose["services"]["offcam"]
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    known = {spec.variable for spec in SPECS}
    assert set(service["environment"]) <= known


def test_dockerfile():
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, _target = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
    known = {spec.variable for spec in SPECS}
    assert set(re.findall(r"OFFCAM_\w+", text)) <= known
    assert re.search(r"^USER 1000", text, re.MULTILINE)


KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
DAEMON_SET = list(yaml.safe_load_all((DEPLOY / "kubernetes-daemonset.yaml").read_text()))
KUBERAY = list(yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text()))
RAY_CLUSTER = KUBERAY[1]["spec"]["rayClusterSpec"]
RAY_PODS = [  # of the RayJob, whose own schema is the operator's
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "of-ray"}, **group["template"]}
    for group in [RAY_CLUSTER["headGroupSpec"], *RAY_CLUSTER["workerGroupSpecs"]]
]


@pytest.mark.parametrize("version", ["1.29.0", "1.33.0"])  # the first that has sidecars by default, and a later one
@pytest.mark.parametrize(
    "document", [*KUBERNETES, *DAEMON_SET, KUBERAY[0], *RAY_PODS, KUBERAY[2]], ids=lambda document: document["kind"]
)
def test_kubernetes_accepts_the_manifest(document, version):
    schemas = pytest.importorskip("kubernetes_validate")
    schemas.validate(document, version, strict=True)
    broken = {**document, "spec": {**document["spec"], "unheard": 1}}
    with pytest.raises(schemas.ValidationError):
        schemas.validate(broken, version, strict=True)


def test_kubernetes_the_daemon_is_a_sidecar_that_the_training_can_reach():
    (claim, job) = KUBERNETES
    pod = job["spec"]["template"]["spec"]
    (recorder,), (training,) = pod["initContainers"], pod["containers"]
    assert (recorder["restartPolicy"], pod["restartPolicy"]) == ("Always", "Never")  # stays, and does not keep the Job
    assert pod["shareProcessNamespace"] is True  # for the frames' memory, which is opened through /proc
    assert pod["terminationGracePeriodSeconds"] >= 120
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] not in (0, 1000)  # the image has no passwd entry for it
    for container in (recorder, training):
        assert "runAsUser" not in container["securityContext"]  # one uid for both
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounted = [{mount["name"]: mount["mountPath"] for mount in each["volumeMounts"]} for each in (recorder, training)]
    given = [{entry["name"]: entry.get("value") for entry in each["env"]} for each in (recorder, training)]
    assert given[0]["OFFCAM_ADDR"] == given[1]["OFFCAM_ADDR"]
    socket = Path(given[0]["OFFCAM_ADDR"].removeprefix("ipc://"))
    # below the volume, which is open to its group: the daemon makes that directory, and its socket's must be its own
    assert str(socket.parent.parent) == mounted[0]["socket"] == mounted[1]["socket"]
    assert mounted[0]["runs"] == mounted[1]["runs"] == given[1]["OFFCAM_DIR"] == training["workingDir"]
    assert set(given[0]) <= {spec.variable for spec in SPECS}
    assert {volume["name"] for volume in pod["volumes"]} == set(mounted[0])
    (kept,) = [volume for volume in pod["volumes"] if volume["name"] == "runs"]
    assert kept["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    for probe in ("startupProbe", "livenessProbe"):
        assert recorder[probe]["httpGet"] == {"path": "/healthz", "port": recorder["ports"][0]["name"]}
    assert given[0]["OFFCAM_HTTP"] == f"0.0.0.0:{recorder['ports'][0]['containerPort']}"


def test_kubernetes_a_nodes_recorder_can_be_reached_by_trainings_in_other_pods():
    (claim, daemon_set, job) = DAEMON_SET
    assert daemon_set["spec"]["selector"]["matchLabels"] == daemon_set["spec"]["template"]["metadata"]["labels"]
    pods = [each["spec"]["template"]["spec"] for each in (daemon_set, job)]
    (first,) = pods[0]["initContainers"]
    (recorder,), (training,) = (pod["containers"] for pod in pods)
    assert [pod["hostPID"] for pod in pods] == [True, True]  # for the frames' memory, which is opened through /proc
    (uid,) = {pod["securityContext"]["runAsUser"] for pod in pods}
    mounted = [{mount["name"]: mount["mountPath"] for mount in each["volumeMounts"]} for each in (recorder, training)]
    given = [{entry["name"]: entry.get("value") for entry in each["env"]} for each in (recorder, training)]
    assert (given[0]["OFFCAM_ADDR"], given[0]["OFFCAM_DIR"]) == (given[1]["OFFCAM_ADDR"], given[1]["OFFCAM_DIR"])
    socket = Path(given[0]["OFFCAM_ADDR"].removeprefix("ipc://"))
    assert first["command"][-1] == str(socket.parent)
    assert f"--owner={uid}" in first["command"]
    assert "--mode=0700" in first["command"]
    assert {first["volumeMounts"][0]["mountPath"], mounted[0]["socket"], mounted[1]["socket"]} == {
        str(socket.parent.parent)
    }
    # each node has a folder of its own
    assert given[0]["OFFCAM_DIR"] == f"{mounted[0]['runs']}/$(NODE_NAME)" == f"{mounted[1]['runs']}/$(NODE_NAME)"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert set(given[0]) - {"NODE_NAME"} <= {spec.variable for spec in SPECS} | {"OFFCAM_DIR"}
    sockets = [next(volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume) for pod in pods]
    assert sockets[0] == sockets[1]
    for probe in ("startupProbe", "livenessProbe"):
        assert recorder[probe]["httpGet"] == {"path": "/healthz", "port": recorder["ports"][0]["name"]}


def test_kuberay_each_pod_records_to_the_volume_that_the_page_shows():
    claim, _, page = KUBERAY
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert RAY_CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    shown = page["spec"]["template"]["spec"]
    assert len({pod["spec"]["securityContext"]["runAsUser"] for pod in [*RAY_PODS, {"spec": shown}]}) == 1
    for spec in (*(pod["spec"] for pod in RAY_PODS), shown):
        (container,) = spec["containers"]
        assert {"name": "runs", "mountPath": "/runs"} in container["volumeMounts"]
        assert {"name": "runs", "persistentVolumeClaim": {"claimName": "offcam-runs"}} in spec["volumes"]
    for pod in RAY_PODS:
        (memory,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "memory"]
        assert memory["emptyDir"]["medium"] == "Memory"
        assert {"name": "memory", "mountPath": "/dev/shm"} in pod["spec"]["containers"][0]["volumeMounts"]  # noqa: S108 - Linux's
    verb, *options = shown["containers"][0]["command"][1:]
    view = typer.main.get_command(app).commands[verb]
    view.make_context("view", [word.replace("/runs", str(DEPLOY)) for word in options])


def test_the_slurm_script_is_a_script_of_bash_s():
    text = (DEPLOY / "slurm.sbatch").read_text()
    assert subprocess.run([shutil.which("bash"), "-n"], input=text, text=True, check=False).returncode == 0
    assert text.startswith("#!/bin/bash\n")


def test_the_runbook_names_only_verbs_that_exist():
    text = (DEPLOY / "RUNBOOK.md").read_text()
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    verbs |= {group.typer_instance.info.name for group in app.registered_groups}
    named = set(re.findall(r"`(?:\w+=\w+ )*offcam ([a-z]+)", text))
    assert named
    assert named <= verbs


# --- monitoring ---------------------------------------------------------------------------------------------

METRIC = re.compile(r"\boffcam_\w+")


HISTOGRAM = Histogram((0.1, 1.0)).as_dict()
NUMBERS = ("uptime_seconds", "started", "clients", "streams", "queue_bytes", "queue_limit_bytes", "spool_bytes")
STATS = {
    **dict.fromkeys((*NUMBERS, "spool_limit_bytes", "encode_lag_seconds", "episodes"), 0),
    "versions": {"offcam": "1"},
    "frames": {"offered": 0, "encoded": 0, "dropped": {}},
    "clips": dict.fromkeys(CLIP_STATES, 0),
    "encoders": {"pids": [1], "give_way": True},
    "breaches": {},
    "lost": {"frames": 0, "records": 0},
    "steps": {"dropped": {}},
    "runs": [],
    "problems": {},
    "unexpected_errors": {},
    "encode_seconds": HISTOGRAM,
    "queue_wait_seconds": HISTOGRAM,
    "memory": {"daemon_rss_bytes": 1, "clients": []},
}


@pytest.fixture(scope="module")
def exported():
    """The names of all series, each with the values of its labels, as the exporter has them."""
    names: dict[str, set[str]] = {}
    for family in Exporter(lambda: STATS).collect():
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(f'{key}="{value}"' for key, value in sample.labels.items())
    return names


def check(expression, exported):
    assert METRIC.findall(expression) or 'up{job="offcam"' in expression, expression
    for name in METRIC.findall(expression):
        assert name in exported, f"{name} in {expression}"
        selected = re.search(rf"{name}{{([^}}]*)}}", expression)
        for label in re.findall(r'(?:reason|state)="[^"]*"', selected[1] if selected else ""):
            assert label in exported[name], f"{label} in {expression}"
    assert expression.count("(") == expression.count(")")


def test_the_exporter_has_the_names_that_these_tests_compare_with(exported):
    assert "offcam_frames_dropped_total" in exported
    assert 'reason="disk_full"' in exported["offcam_frames_dropped_total"]
    with pytest.raises(AssertionError):
        check("rate(offcam_frames_lost_total[5m])", exported)
    with pytest.raises(AssertionError):
        check('rate(offcam_clips_total{state="gone"}[5m])', exported)


def test_alerts(exported):
    document = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    assert len(names) == len(set(names)) > 5
    runbook = (DEPLOY / "RUNBOOK.md").read_text()
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        check(rule["expr"], exported)
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
    for named in re.findall(r"`(Offcam\w+)`", runbook):
        assert named in names


@pytest.mark.usefixtures("alone")
def test_the_scrape_config():
    document = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    (job,) = document["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("offcam", "/metrics")
    assert job["static_configs"] == [{"targets": [load().http.netloc]}]
    assert all((DEPLOY / file).is_file() for file in document["rule_files"])


@pytest.fixture
def promtool():
    """Run Prometheus's own checker; what it says."""
    if not (program := shutil.which("promtool")):
        pytest.skip("promtool (of Prometheus) is not here")

    def run(*arguments, given=None):
        done = subprocess.run([program, *map(str, arguments)], input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_prometheus_accepts_the_config_and_its_rules(promtool):
    assert "1 rule files found" in promtool("check", "config", DEPLOY / "prometheus.yml")


def test_prometheus_accepts_the_metrics_without_a_complaint(promtool):
    text, _media_type = Exporter(lambda: STATS).text("")
    assert promtool("check", "metrics", given=text.decode()) == ""


def test_prometheus_accepts_the_dashboards_expressions(promtool, tmp_path):
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m").replace("$instance", ".*")}
        for number, expression in enumerate(expressions)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_alerts_go_off_when_they_should(promtool, tmp_path):
    instance = 'instance="host:8720"'
    series = {
        f'up{{job="offcam", {instance}}}': "1 1 0x8",
        f'offcam_frames_dropped_total{{{instance}, reason="disk_full"}}': "0 0 7x8",
        f"offcam_queue_bytes{{{instance}}}": "95x10",
        f"offcam_queue_limit_bytes{{{instance}}}": "100x10",
        f"offcam_spool_bytes{{{instance}}}": "0x10",
        f"offcam_spool_limit_bytes{{{instance}}}": "0x10",  # no spool: neither full nor a division by 0
    }
    (down, full, queue, spool) = ("OffcamDown", "OffcamDiskFull", "OffcamQueueFull", "OffcamSpoolFull")
    expected = {"1m": set(), "3m": {full}, "5m": {down, full, queue}}
    documents = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
    labels = {rule["alert"]: rule["labels"] for group in documents["groups"] for rule in group["rules"]}
    more = {"OffcamDown": {"job": "offcam"}, "OffcamDiskFull": {"reason": "disk_full"}}
    tests = [
        {
            "eval_time": moment,
            "alertname": name,
            "exp_alerts": [{"exp_labels": {"instance": "host:8720", **labels[name], **more.get(name, {})}}]
            if name in alerts
            else [],
        }
        for moment, alerts in expected.items()
        for name in (down, full, queue, spool)
    ]
    file = tmp_path / "test.yml"
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    case = {"interval": "1m", "input_series": inputs, "alert_rule_test": tests}
    rules = tmp_path / "alerts.yml"  # as they are, but for the words
    for group in documents["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    rules.write_text(yaml.safe_dump(documents))
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [case]}))
    assert "SUCCESS" in promtool("test", "rules", file)


def test_the_dashboard(exported):
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["targets"]
        for target in panel["targets"]:
            check(target["expr"], exported)
            assert "$instance" in target["expr"]
            assert target["datasource"]["uid"] == "${datasource}"
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    assert variables == {"datasource", "instance"}
