"""Rows about muster-bootstrap: how soon it knows who it is, what its boot costs, and what it takes as a watchman."""

import contextlib
import json
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .harness import TARGET, build, figure, row, run, say
from .servers import NO_PROXY
from .vault import Server

RUNS = 30
WATCHED = 120
NOTICES = 60


def program():
    """What is shipped."""
    run(["cargo", "build", "--profile", "dist", "--quiet", "--locked", "-p", "muster-bootstrap", "--bin", "muster-bootstrap"])
    return TARGET / "dist/muster-bootstrap"


class Instance:
    """The metadata service of an instance, and a directory for its agent."""

    def __init__(self, place):
        example = build("-p", "fleet-cloud", "--example", "instance") / "examples/instance"
        self.place = place
        self.process = subprocess.Popen([example, place / "aws.pem"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.metadata = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def configure(self, more=""):
        (self.place / "bootstrap.hcl").write_text(f'''
identity {{
  endpoints    = ["{self.metadata}"]
  certificates = ["{self.place}/aws.pem"]
}}
{more}
''')

    def start(self, agent):
        """The agent on a disk that knows nothing."""
        for name in ("state", "run"):
            run(["rm", "-rf", self.place / name])
        command = [agent, "run", "--log", "error", "--config", self.place / "bootstrap.hcl"]
        command += ["--state-directory", self.place / "state", "--run-directory", self.place / "run"]
        return subprocess.Popen(command)


def boot(instance, agent):
    """Seconds from the start of the process until the instance is known, and until it is ready."""
    begun = time.time()
    process = instance.start(agent)
    ready = instance.place / "run/ready"
    while not ready.exists():
        if process.poll() is not None or time.time() - begun > 60:
            raise SystemExit("tests/bench: the agent does not become ready")
        time.sleep(0.0005)
    took = time.time() - begun
    status = {"steps": []}
    while not any(step["step"] == "identity" and step["ended"] for step in status["steps"]):
        status = json.loads((instance.place / "run/status.json").read_text())
    ended = next(step["ended"] for step in status["steps"] if step["step"] == "identity")
    process.terminate()
    process.wait()
    known = ended / 1000 - begun if isinstance(ended, int) else None
    return known, took


class Between:
    """A metadata service in front of an instance's own, which announces an interruption that comes nearer each time it is
    moved; and the autoscaler that is told of it. Notes when each was seen first, and when each was told."""

    def __init__(self, metadata):
        self.metadata, self.deadline, self.lock = metadata, None, threading.Lock()
        self.seen, self.told = {}, {}
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            do_GET = do_PUT = do_POST = lambda self: between.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def move(self, deadline):
        """The instance goes then, in seconds since 1970."""
        with self.lock:
            self.deadline = deadline

    def answer(self, asked):
        body = asked.rfile.read(int(asked.headers.get("Content-Length", 0)))
        if asked.path == "/v1/identify":
            return self.say(asked, 200, json.dumps({"token": "of no importance", "expires": (int(time.time()) + 86400) * 1000}).encode())
        if asked.path == "/v1/samples":
            return self.say(asked, 200, b'{"accepted": 1}')
        if asked.path == "/v1/notices":
            now, notices = time.monotonic(), json.loads(body)["notices"]
            for notice in notices:
                self.told.setdefault(notice["deadline_ms"] // 1000, now)
            accepted = {"accepted": 1, "confirmed": len(notices), "leader": True}
            return self.say(asked, 200, json.dumps(accepted).encode())
        if asked.path.endswith("/spot/instance-action") and self.deadline is not None:
            with self.lock:
                deadline = self.deadline
            text = json.dumps({"action": "terminate", "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(deadline))})
            self.seen.setdefault(deadline, time.monotonic())
            return self.say(asked, 200, text.encode())
        self.say(asked, *self.forwarded(asked, body))

    def forwarded(self, asked, body):
        headers = {name: value for name, value in asked.headers.items() if name.lower().startswith("x-aws-")}
        request = urllib.request.Request(self.metadata + asked.path, body or None, headers, method=asked.command)
        try:
            with NO_PROXY.open(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def say(self, asked, status, body):
        asked.send_response(status)
        asked.send_header("Content-Length", str(len(body)))
        asked.end_headers()
        with contextlib.suppress(BrokenPipeError):  # Who is told to end does not hear the last answer.
            asked.wfile.write(body)


@row
def told():
    """An interruption that comes nearer sixty times, as an agent finds it in its look of each second: from the metadata
    service's answer that says so until the autoscaler has what the agent tells of it."""
    agent = program()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place, Instance(Path(place)) as instance:
        between = Between(instance.metadata)
        instance.metadata = between.address
        instance.configure(f'''
watch {{
  autoscaler {{
    fleet     = "web"
    addresses = ["{between.address}"]
  }}
}}
''')
        process = instance.start(agent)
        while not (instance.place / "run/ready").exists():
            if process.poll() is not None:
                raise SystemExit("tests/bench: the agent does not become ready")
            time.sleep(0.01)
        deadlines = [int(time.time()) + 3600 - 2 * number for number in range(NOTICES)]
        for deadline in deadlines:
            between.move(deadline)
            until = time.monotonic() + 30
            while deadline not in between.told:
                if time.monotonic() > until:
                    raise SystemExit("tests/bench: the agent does not tell of an interruption")
                time.sleep(0.001)
        process.terminate()
        process.wait()
    times = sorted(between.told[deadline] - between.seen[deadline] for deadline in deadlines)
    say(f"  {[round(1000 * one, 1) for one in times]}")
    # Of fewer than a hundred the 99th percentile is the worst.
    measured = f"p50 {1000 * statistics.median(times):.1f} ms, p99 {1000 * times[-1]:.1f} ms"
    return [figure(f"notice read from the metadata service until it is told to the autoscaler, {NOTICES} of them",
                   "p99 <= 100 ms", measured, times[-1] <= 0.1)], {}


@row
def whole():
    """A node with everything, as a test of the agent's boots it with the program as it is shipped: Vault by the role of the
    instance, AWX by its stand-in, node_exporter, Consul, Nomad and an autoscaler, all of them on this machine; Vault, AWX and
    the node's Consul and Nomad by TLS, with a new connection for each request. What of its first boot is the agent's own: the
    time until the last step stands, less that in which a step waits for somebody else or root stops or starts a unit; of a
    wait it is somebody else's time up to the last look that found it not over, and the pause after that is the agent's. What
    it computes for that boot; how long it takes when it is started again and all of it stands, nine times; then CPU over five
    and a half minutes in which every step is looked at again once, as every five minutes (all that the process has computed,
    threads that have ended among it, in windows of thirty seconds), and memory. The log is of the level debug. A process of the test
    stands for PID 1 and root's units: the row of `platform` has real ones. Needs root, and what `tests/run setup` fetches."""
    text = run(["cargo", "test", "--quiet", "--profile", "dist", "--locked", "-p", "muster-bootstrap", "--test", "it", "--",
                "--nocapture", "whole::", "idle=330s"])
    found = json.loads(re.search(r"^a whole node: (.*)$", text, re.MULTILINE)[1])
    say(f"  {found}")
    own, again, first = found["own_ms"], statistics.median(found["restarts_ms"]), found["first_ms"] / 1000
    idle = (f"{100 * found['idle']:.2f} % over {found['idle_s']} s with {found['looks']} look at all steps; by windows p50 "
            f"{100 * found['idle_p50']:.2f} %, {100 * found['idle_worst']:.2f} % at most")
    return [
        figure("whole graph, first boot: what is the agent's own", "<= 1 s",
               f"{own} ms of {first:.1f} s, the rest of which others take to start and to be proved; {found['computed_ms']} ms of "
               "it computed", own <= 1000),
        figure("whole graph, where all of it stands: start to ready", "<= 1 s",
               f"{again:.0f} ms, {max(found['restarts_ms'])} ms at most", again <= 1000),
        figure("memory as a watchman of the whole graph, RssAnon", "<= 6 MB", f"{found['anonymous_mb']:.1f} MB", found["anonymous_mb"] <= 6),
        figure("memory as a watchman of the whole graph, RSS", "<= 16 MB", f"{found['resident_mb']:.1f} MB", found["resident_mb"] <= 16),
        figure("CPU as a watchman of the whole graph", "<= 0.1 % of a core", idle, found["idle"] <= 0.001),
    ], {}


def shown(times):
    times = sorted(times)
    return f"{1000 * statistics.median(times):.0f} ms, p95 {1000 * times[int(0.95 * len(times))]:.0f} ms"


@row
def agent():
    """muster-bootstrap as it is shipped: its size; from its start until the instance is proved, and until its boot is
    ready with a login to OpenBao, a secret in its file and nothing else to wait for, 30 times; memory and CPU over two
    minutes as a watchman that asks the metadata service every second."""
    agent = program()
    size = agent.stat().st_size / 1e6
    figures = [figure("muster-bootstrap (`dist`, stripped)", "<= 12 MB", f"{size:.1f} MB", size <= 12)]
    openbao = Path(run(["tests/tools/openbao"]).strip()) / "bao"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place, Server(openbao, Path(place)) as server:
        place = Path(place)
        with Instance(place) as instance:
            (place / "web.tmpl").write_text("{{ secret('secret/data/web').password }}")
            instance.configure(f'''
vault {{
  address = "{server.address}"
  token_file = "{place}/token"
  approle {{
    role_id_file   = "{place}/role_id"
    secret_id_file = "{place}/secret_id"
  }}
  template "web" {{
    source = "{place}/web.tmpl"
    path   = "{place}/web"
  }}
}}
''')
            times = [boot(instance, agent) for _ in range(RUNS + 2)][2:]
            known = [1 for _ in times] if times[0][0] is None else [one[0] for one in times]
            whole = [one[1] for one in times]
            say(f"  known {sorted(round(1000 * one) for one in known)}, ready {sorted(round(1000 * one) for one in whole)}")
            figures.append(figure("start to identity", "<= 50 ms", shown(known), statistics.median(known) <= 0.05))
            figures.append(figure("start to ready, with a login and a secret", "<= 1 s", shown(whole), statistics.median(whole) <= 1))
            process = instance.start(agent)
            time.sleep(10)
            ticks = os.sysconf("SC_CLK_TCK")
            first = used(process.pid)
            time.sleep(WATCHED)
            share = (used(process.pid) - first) / ticks / WATCHED
            memory = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
            anonymous, whole = (int(memory[name].split()[0]) / 1000 for name in ("RssAnon", "VmRSS"))
            process.terminate()
            process.wait()
    figures.append(figure("memory as a watchman, RssAnon", "<= 6 MB", f"{anonymous:.1f} MB", anonymous <= 6))
    figures.append(figure("memory as a watchman, RSS", "<= 16 MB", f"{whole:.1f} MB", whole <= 16))
    figures.append(figure("CPU as a watchman", "<= 0.1 % of a core", f"{100 * share:.2f} %", share <= 0.001))
    unit = run(["systemd-analyze", "security", "--offline=true", "bootstrap/systemd/muster-bootstrap.service"])
    exposure = float(unit.strip().splitlines()[-1].split(":")[1].split()[0])
    figures.append(figure("exposure of the unit (`systemd-analyze security`)", "<= 2.0", f"{exposure}", exposure <= 2))
    return figures, {}


def used(pid):
    """Ticks of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])
