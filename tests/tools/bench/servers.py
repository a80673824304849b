"""Worlds, and programs in the background: a cloud on loopback, and the daemon that holds fleets in it."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from .harness import WORK, programs

KEY, SECRET = "muster", "muster-secret"


def account(name, fleets, load, policy=""):
    """A world file with this many fleets, and the policy file that holds them."""
    world, policies = WORK / f"{name}.world.hcl", WORK / f"{name}.policy.hcl"
    pools = "".join(
        f'pool "{pool}" {{\n  price = "0.04"\n  depth = 100000\n}}\n'
        for pool in ("m5.large/eu-west-1a", "m5.large/eu-west-1b", "c5.large/eu-west-1a", "r5.large/eu-west-1b")
    )
    ids = [f"sfr-00000000-0000-4000-8000-{number:012}" for number in range(fleets)]
    held = [f'fleet "web{number}" {{\n  id = "{fleet}"\n  load {{ {load} }}\n}}\n' for number, fleet in enumerate(ids)]
    start = 'start = "2026-03-02T00:00:00Z"\n' if name.startswith("calls") else ""
    world.write_text(start + pools + "".join(held))
    policies.write_text(
        "".join(
            f'fleet "web{number}" {{\n  id     = "{fleet}"\n  region = "eu-west-1"\n{policy}'
            '  workload { kind = "spreads" }\n}\n'
            for number, fleet in enumerate(ids)
        )
    )
    return world, policies


CLOUDWATCH = '  source "cloudwatch" {}\n'


class Running:
    """A program in the background; killed when it is left."""

    def __init__(self, *arguments, environment=None):
        self.log = tempfile.TemporaryFile("w+")
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [programs() / "muster-autoscaler", *arguments],
            stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, **(environment or {})},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def check(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise SystemExit(f"tests/bench: a program ended with {self.process.returncode}:\n{self.log.read()}")

    def memory(self):
        """Resident memory, now and at most, in MB of 2^20 bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024 for field in ("VmRSS", "VmHWM"))


def cloud(world):
    return Running("cloud", "--port", "0", "--world", world, "--log", "warn")


def endpoint_of(served):
    return re.search(r"AWS_ENDPOINT_URL=(\S+)", served.process.stdout.readline())[1]


def daemon(policies, state, endpoint, port):
    environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "NO_PROXY": "*"}
    return Running(
        "run", "--policy", policies, "--state", state, "--endpoint", endpoint,
        "--listen", f"127.0.0.1:{port}", "--log", "warn", environment=environment,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(port, path):
    """What the daemon answers; nothing while it does not, or says that it is not ready."""
    try:
        with NO_PROXY.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError):
        return None


def wait_for(program, port, path, found, patience):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        program.check()
        answer = get(port, path)
        if answer is not None and found(answer):
            return time.monotonic() - program.begun
        time.sleep(0.001)
    raise SystemExit(f"tests/bench: waited for {path} in vain")
