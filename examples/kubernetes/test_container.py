"""Runs the image's root file system as a container does, with what the manifests say, and checks the manifests: test_container.py ROOT PREFIX
FIXTURES. ROOT is what scripts/container-rootfs made. scripts/test-container calls it."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import test_manifests
from test_manifests import check, size, skip

# A service that is not ready by then never is; it takes less than a second.
WATCHDOG = 60

# Joins the cgroups, then becomes the service in namespaces of its own: its root read-only, as a user who is not root, as process 1.
CONTAINER = """
set -e
while [ "$1" != -- ]; do
    echo $$ >"$1/cgroup.procs"
    shift
done
shift
exec unshare --mount --pid --ipc --uts --fork --kill-child --propagation private sh -c '
    set -e
    root=$1 models=$2 to=$3 user=$4
    shift 4
    mount --bind "$root" "$root"
    mount --rbind /sys "$root/sys"
    mount -t proc proc "$root/proc"
    # The devices that every container has, random numbers among them.
    mount -t tmpfs -o mode=755 dev "$root/dev"
    for device in null zero full random urandom; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mount --bind "$models" "$root$to"
    mount -o remount,bind,ro "$root$to"
    mount -o remount,bind,ro "$root"
    exec setpriv --no-new-privs chroot --userspec="$user" "$root" "$@"
' sh "$@"
"""


def refusal():
    """Why no container can be run here, or None."""
    if os.geteuid() != 0:
        return "only root can run it in a root of its own"
    for tool in ("unshare", "setpriv", "chroot"):
        if not shutil.which(tool):
            return f"{tool} is missing"
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "--propagation", "private", "true"], capture_output=True).returncode:
        return "this machine does not let us make namespaces"
    return None


@contextlib.contextmanager
def cgroups(cpus, memory):
    """Folders of cgroups with these limits, or none where they cannot be made."""
    controllers = {}
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, names, at = line.split(":", 2)
        controllers |= {name: at.lstrip("/") for name in names.split(",")}
    name, made = f"kinglet-container-{os.getpid()}", []

    def make(parent, **files):
        folder = parent / name
        folder.mkdir()
        made.append(folder)
        for file, text in files.items():
            (folder / file.replace("_", ".", 1)).write_text(text)

    try:
        try:
            if "cpu" in controllers:
                make(pathlib.Path("/sys/fs/cgroup/cpu", controllers["cpu"]), cpu_cfs_quota_us=str(cpus * 100_000))
                make(pathlib.Path("/sys/fs/cgroup/memory", controllers["memory"]), memory_limit_in_bytes=str(memory))
            else:
                make(pathlib.Path("/sys/fs/cgroup", controllers[""]), cpu_max=f"{cpus * 100_000} 100000", memory_max=str(memory))
            yield made
        except OSError as error:
            skip(f"limits of CPUs and memory: no cgroup can be made: {error}")
            yield []
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def contents(root):
    return {
        str(path): (path.lstat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "") for path in root.rglob("*")
    }


def child(pid):
    """The process that unshare started."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[1] == str(pid):
                return int(stat.parent.name)
    return None


def ask(url, key=None, body=None):
    """The status and the text of an answer."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if body:
        headers["Content-Type"] = "application/json"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body and json.dumps(body).encode(), headers), timeout=WATCHDOG) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def records(log):
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def ready(process, log):
    """The log's records by message, once the service is ready, or None."""
    end = time.monotonic() + WATCHDOG
    while time.monotonic() < end and process.poll() is None:
        said = {record["msg"]: record for record in records(log)}
        if "ready" in said:
            return said
        time.sleep(0.05)
    return None


def in_a_container(m, root, prefix, fixtures, folder):
    if why := refusal():
        return skip(f"the container: {why}")
    mount = m.container["volumeMounts"][0]["mountPath"]
    [model] = m.arguments("embed")
    name, _, place = model.partition("=")
    models = folder / "models"
    models.mkdir()
    quantized = models / pathlib.Path(place).relative_to(mount)
    subprocess.run([prefix / "bin/kinglet", "quantize", "--precision", "int8", fixtures / "bert", quantized], check=True, stderr=subprocess.DEVNULL)
    models.chmod(0o755)
    quantized.chmod(0o644)

    [entrypoint] = json.loads(re.search(r"^ENTRYPOINT (.*)$", m.containerfile, re.M)[1])
    arguments = ["-listen=:0" if a.startswith("-listen=") else a for a in m.container["args"]]
    pod, key, log = m.pod["securityContext"], "test-key", folder / "log"
    user = f"{pod['runAsUser']}:{pod['runAsGroup']}"
    environment = {"PATH": os.environ["PATH"]}
    for variable in m.container["env"]:
        environment[variable["name"]] = key if "secretKeyRef" in variable["valueFrom"] else "1"
    before = contents(root)
    # One CPU, so that the quota differs from what the machine has.
    with cgroups(1, size(m.container["resources"]["limits"]["memory"])) as joined, log.open("w") as stderr:
        process = subprocess.Popen(
            ["sh", "-c", CONTAINER, "sh", *joined, "--", root, models, mount, user, entrypoint, *arguments], env=environment, stderr=stderr
        )
        try:
            said = ready(process, log)
            check("the service gets ready", said, log.read_text()[-2000:])
            if said:
                running(m, process, said, name, key, bool(joined))
        finally:
            process.kill()
            process.wait()
    check("its root is as it was", contents(root) == before)


def running(m, process, said, name, key, limited):
    service = child(process.pid)
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{service}/status").read_text().splitlines())
    user = str(m.pod["securityContext"]["runAsUser"])
    check("it runs as the manifest's user alone", status["Uid"].split() == [user] * 4 and set(status["Groups"].split()) <= {user}, status["Uid"])
    check("it has no capability", all(int(status[kind], 16) == 0 for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb")), status["CapEff"])
    check("it is process 1 and gains no privileges", status["NSpid"].split()[-1] == "1" and status["NoNewPrivs"] == "1")
    mounts = [line.split() for line in pathlib.Path(f"/proc/{service}/mountinfo").read_text().splitlines()]
    options = {fields[4]: fields[5].split(",") for fields in mounts}
    places = ("/", m.container["volumeMounts"][0]["mountPath"])
    check("root and models are read-only", all("ro" in options[place] for place in places), options)
    if limited:
        check("it uses as many threads as the quota says", said["model loaded"]["threads"] == 1, said["model loaded"])

    url = "http://127.0.0.1:" + said["listening"]["address"].rpartition(":")[2]
    for kind, probe in m.probes.items():
        got, text = ask(url + probe["httpGet"]["path"])
        check(f"{kind} is answered without a key", got == 200, text)
    embeddings, body = url + "/v1/embeddings", {"model": name, "input": ["a small bird", "the river"]}
    got, text = ask(embeddings, key, body)
    vectors = [item["embedding"] for item in json.loads(text)["data"]] if got == 200 else []
    check("/v1/embeddings gives vectors", [len(vector) for vector in vectors] == [32, 32], text)
    check("the secret's key is asked for", ask(embeddings, None, body)[0] == 401)
    got, text = ask(url + "/metrics", key)
    for series in sorted(m.series()):
        check(f"/metrics has {series}", re.search(rf'^{series}\{{model="{name}"\}} ', text, re.M), text[:500])

    os.kill(service, signal.SIGTERM)
    try:
        ended = process.wait(timeout=m.grace)
        check("SIGTERM ends it with success within the grace period", ended == 0, ended)
    except subprocess.TimeoutExpired:
        check("SIGTERM ends it with success within the grace period", False, f"it runs after {m.grace} s")


def prometheus(m, folder):
    """The adapter's queries and the scraping, by Prometheus' own tool."""
    if not shutil.which("promtool"):
        return skip("the adapter's queries: promtool is missing; scripts/test-monitoring unpacks it")
    key = folder / "key"
    key.write_text("key")
    text = (test_manifests.HERE / "prometheus.yml").read_text()
    # Debian's Prometheus is built without the discovery of pods, so the relabelling is checked with a static target.
    text, changed = re.subn(r"kubernetes_sd_configs:\n +- role: pod", "static_configs: [{targets: ['localhost:8080']}]", text)
    check("Prometheus discovers pods", changed == 1)
    (folder / "prometheus.yml").write_text(re.sub(r"(credentials_file: ).*", rf"\g<1>{key}", text))
    recorded = []
    for rule in m.rules:
        query = rule["metricsQuery"].replace("<<.LabelMatchers>>", 'namespace="kinglet",pod=~"busy|idle"').replace("<<.GroupBy>>", "pod")
        recorded.append({"record": rule["name"]["as"], "expr": query})
    (folder / "rules.json").write_text(json.dumps({"groups": [{"name": "adapter", "rules": recorded}]}))
    series = {
        # Every 15 seconds 30 requests, which have waited 6 seconds together.
        ("http_queue_seconds_sum", "busy"): "0+6x40",
        ("http_queue_seconds_count", "busy"): "0+30x40",
        ("kinglet_requests_running", "busy"): "4x40",
        ("kinglet_requests_waiting", "busy"): "2x40",
        ("http_queue_seconds_sum", "idle"): "0x40",
        ("http_queue_seconds_count", "idle"): "0x40",
        ("kinglet_requests_running", "idle"): "0x40",
        ("kinglet_requests_waiting", "idle"): "0x40",
    }
    given = [{"series": f'{name}{{namespace="kinglet",pod="{pod}",model="m"}}', "values": values} for (name, pod), values in series.items()]
    wanted = {"kinglet_queue_seconds": {"busy": 0.2, "idle": 0}, "kinglet_requests_in_flight": {"busy": 6, "idle": 0}}
    expected = [
        {"expr": name, "eval_time": "5m", "exp_samples": [{"labels": f'{name}{{pod="{pod}"}}', "value": value} for pod, value in pods.items()]}
        for name, pods in wanted.items()
    ]
    test = {"interval": "15s", "input_series": given, "promql_expr_test": expected}
    (folder / "test.json").write_text(json.dumps({"rule_files": ["rules.json"], "evaluation_interval": "15s", "tests": [test]}))
    for name, command in {
        "Prometheus takes the scrape's configuration": ["check", "config", "prometheus.yml"],
        "the adapter's queries count what they should": ["test", "rules", "test.json"],
    }.items():
        result = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True)
        check(name, result.returncode == 0, result.stdout + result.stderr)


def kustomize(overlay):
    """What kustomize builds, where it is installed."""
    command = next((c for c in (["kustomize", "build"], ["kubectl", "kustomize"]) if shutil.which(c[0])), None)
    if not command:
        return skip("the overlay as a whole: neither kustomize nor kubectl is installed")
    result = subprocess.run([*command, overlay], capture_output=True, text=True)
    check("kustomize builds the overlay", result.returncode == 0, result.stderr)
    if result.returncode == 0:
        test_manifests.built(result.stdout)


def main():
    root, prefix, fixtures = map(pathlib.Path, sys.argv[1:])
    m = test_manifests.run()
    kustomize(test_manifests.HERE / "overlays/example")
    with tempfile.TemporaryDirectory() as folder:
        prometheus(m, pathlib.Path(folder))
        in_a_container(m, root, prefix, fixtures, pathlib.Path(folder))
    print(f"{test_manifests.passed} passed, {test_manifests.failed} failed, {test_manifests.skipped} skipped")
    sys.exit(test_manifests.failed > 0)


if __name__ == "__main__":
    main()
