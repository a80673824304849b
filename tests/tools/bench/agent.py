"""Rows about muster-bootstrap: how soon it knows who it is, what its boot costs, and what it takes as a watchman."""

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from .harness import TARGET, build, figure, row, run, say
from .vault import Server

RUNS = 30
WATCHED = 120


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
