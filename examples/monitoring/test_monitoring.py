"""Tests this folder with the real servers: test_monitoring.py GO_SERVICE FIXTURES. scripts/test-monitoring calls it."""

import http.server
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent
# A server that has not answered by then never does; it takes seconds.
WATCHDOG = 120

passed = failed = skipped = 0


def check(name, good, why=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"ok {name}" if good else f"FAILED {name}: {why}")


def succeeds(name, *command):
    result = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    check(name, result.returncode == 0, result.stdout + result.stderr)
    return result.stdout


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def get(url, body=None):
    headers = {"Content-Type": "application/json"} if body else {}
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def until(what, holds):
    """Waits for `holds` to return something true, and returns it."""
    end, why = time.monotonic() + WATCHDOG, ""
    while time.monotonic() < end:
        try:
            if result := holds():
                return result
        except (OSError, ValueError) as error:
            why = str(error)
        time.sleep(0.2)
    check(what, False, f"not within {WATCHDOG} s; {why}")
    return None


class Slack(http.server.BaseHTTPRequestHandler):
    messages = []

    def do_POST(self):
        Slack.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def files():
    """What the tools say of the files by themselves."""
    succeeds("promtool check config", "promtool", "check", "config", "prometheus.yml")
    succeeds("promtool test rules", "promtool", "test", "rules", "alerts_test.yml")
    succeeds("amtool check-config", "amtool", "check-config", "alertmanager.yml")
    for severity, receivers in {"critical": "channel,on-call", "warning": "channel"}.items():
        route = succeeds(
            f"amtool routes of {severity}", "amtool", "config", "routes", "test", "--config.file=alertmanager.yml", f"severity={severity}"
        )
        check(f"{severity} alerts go to {receivers}", route.strip() == receivers, route)


def changed(name, folder, *changes):
    """A copy of a file with other ports and times. Each change must apply."""
    text = (HERE / name).read_text()
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text)
        assert count, f"{name}: no {pattern}"
    (folder / name).write_text(text)


def alertmanager():
    """The command. Debian's reads templates of its package, which an unpacked one does not have where it looks: root can put them there for
    this process alone."""
    program = shutil.which("prometheus-alertmanager")
    if not program:
        return ["alertmanager"]
    share = pathlib.Path(program).parent.parent / "share"
    if share == pathlib.Path("/usr/share"):
        return [program]
    return ["unshare", "-m", "sh", "-c", f'mount -t overlay none -o "lowerdir={share}:/usr/share" /usr/share && exec "$@"', "sh", program]


def servers(folder, running, go_service, fixtures):
    slack = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slack)
    threading.Thread(target=slack.serve_forever, daemon=True).start()
    ports = {name: free_port() for name in ("service", "prometheus", "alertmanager")}
    (folder / "slack-webhook").write_text(f"http://127.0.0.1:{slack.server_port}/hook")
    changed("alerts.yml", folder, (r"(alert: KingletDown\n.*\n +for: )1m", r"\g<1>1s"))
    changed("alertmanager.yml", folder)
    changed(
        "prometheus.yml", folder, (r"_interval: 15s", "_interval: 1s"), (r"localhost:9093", f"127.0.0.1:{ports['alertmanager']}"),
        (r"localhost:8080", f"127.0.0.1:{ports['service']}"),
    )  # fmt: skip

    def start(name, *command):
        running[name] = subprocess.Popen(command, cwd=folder, stdout=(folder / f"{name}.log").open("w"), stderr=subprocess.STDOUT)

    service = f"http://127.0.0.1:{ports['service']}"
    prometheus = f"http://127.0.0.1:{ports['prometheus']}"
    start(
        "service", go_service, "-listen", f"127.0.0.1:{ports['service']}", "-embed", f"bert={fixtures}/bert",
        "-generate", f"gpt2={fixtures}/generation/gpt2",
    )  # fmt: skip
    start(
        "alertmanager", *alertmanager(), "--config.file=alertmanager.yml",
        "--storage.path=alertmanager", f"--web.listen-address=127.0.0.1:{ports['alertmanager']}", "--cluster.listen-address=",
    )  # fmt: skip
    start(
        "prometheus", "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=prometheus",
        f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
    )  # fmt: skip

    def query(expression):
        answer = json.loads(get(f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": expression})))
        return answer["data"]["result"]

    def traffic():
        get(f"{service}/v1/embeddings", {"model": "bert", "input": ["a small bird", "the river"]})
        get(f"{service}/v1/completions", {"model": "gpt2", "prompt": "The", "max_tokens": 4, "ignore_eos": True})
        return True

    if not until("the service answers", traffic):
        return
    until("Alertmanager starts", lambda: running["alertmanager"].poll() is not None or get(f"http://127.0.0.1:{ports['alertmanager']}/-/ready"))
    reached = until("Prometheus reaches the service", lambda: query('up{job="kinglet"} == 1'))
    check("Prometheus scrapes the service", reached)
    if not reached:
        return
    dashboard = json.loads((HERE / "grafana/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "20s").replace("$instance", ".*")
            # A rate needs two scrapes of a series that has grown.
            found = until(f"{panel['title']}: {expression}", lambda: traffic() and query(expression))
            if found:
                check(f"dashboard: {panel['title']}, {target['legendFormat']}", True)
    for group in json.loads(get(f"{prometheus}/api/v1/rules"))["data"]["groups"]:
        for rule in group["rules"]:
            check(f"rule {rule['name']}", rule["health"] in ("ok", "unknown"), rule.get("lastError"))

    running["service"].send_signal(signal.SIGTERM)
    check("the service ends", running["service"].wait(timeout=WATCHDOG) == 0)
    if running["alertmanager"].poll() is not None:
        global skipped
        skipped = 1
        print("skipped: the message to Slack: this Alertmanager does not start; install the package prometheus-alertmanager")
        return
    told = until("Slack is told", lambda: [m for m in Slack.messages if "KingletDown" in json.dumps(m)])
    if told:
        text = json.dumps(told[0])
        check("Slack is told that the service is down", "FIRING: KingletDown" in text and "does not answer" in text, text)


def main():
    files()
    running = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            servers(pathlib.Path(folder), running, *sys.argv[1:])
        finally:
            for name, process in running.items():
                if process.poll() is None:
                    process.terminate()
                    process.wait()
                if failed:
                    print(f"--- {name}\n{(pathlib.Path(folder) / f'{name}.log').read_text()[-3000:]}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
