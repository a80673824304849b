"""The row about the agent's login to Vault, beside the agents that Vault and OpenBao bring."""

import json
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from .harness import build, figure, row, run, say
from .servers import NO_PROXY, free_port

RUNS = 40


class Server:
    """A Vault or an OpenBao in memory, with an AppRole and a secret of KV version 2."""

    def __init__(self, program, place):
        self.program, self.place, self.address = program, place, f"http://127.0.0.1:{free_port()}"
        address = self.address.removeprefix("http://")
        self.process = subprocess.Popen(
            [program, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address={address}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def __enter__(self):
        for _ in range(600):
            try:
                self.call("GET", "sys/health")
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise SystemExit(f"tests/bench: {self.program} does not answer")
        self.call("PUT", "sys/policies/acl/node", {"policy": 'path "secret/data/*" { capabilities = ["read"] }'})
        self.call("POST", "sys/auth/approle", {"type": "approle"})
        self.call("POST", "auth/approle/role/node", {"token_policies": ["node"], "token_ttl": "1h"})
        self.call("POST", "secret/data/web", {"data": {"password": "of no importance"}})
        role_id = self.call("GET", "auth/approle/role/node/role-id")["data"]["role_id"]
        secret_id = self.call("POST", "auth/approle/role/node/secret-id", {})["data"]["secret_id"]
        (self.place / "role_id").write_text(role_id)
        (self.place / "secret_id").write_text(secret_id)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", data, {"X-Vault-Token": "root"}, method=method)
        with NO_PROXY.open(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def agent(self):
        """The agent that comes with it: ends when the token and the file are there."""
        place = self.place
        template = '{{ with secret "secret/data/web" }}{{ .Data.data.password }}{{ end }}'
        (place / "agent.ctmpl").write_text(template)
        (place / "agent.hcl").write_text(f'''
exit_after_auth = true
vault {{ address = "{self.address}" }}
auto_auth {{
  method "approle" {{
    config = {{
      role_id_file_path                   = "{place}/role_id"
      secret_id_file_path                 = "{place}/secret_id"
      remove_secret_id_file_after_reading = false
    }}
  }}
  sink "file" {{ config = {{ path = "{place}/agent.token" }} }}
}}
template {{
  source      = "{place}/agent.ctmpl"
  destination = "{place}/agent.secret"
}}
''')
        return [self.program, "agent", f"-config={place}/agent.hcl"], place / "agent.secret"

    def keep(self):
        """Ours."""
        place = self.place
        (place / "keep.tmpl").write_text("{{ secret('secret/data/web').password }}")
        program = build("-p", "bootstrap-vault", "--example", "keep") / "examples/keep"
        return [
            program, "--address", self.address, "--role-id", place / "role_id", "--secret-id", place / "secret_id",
            "--token", place / "keep.token", "--template", f"{place}/keep.tmpl={place}/keep.secret",
        ], place / "keep.secret"


def took(command, secret):
    """Milliseconds from the start of a program until its secret is in its file."""
    secret.unlink(missing_ok=True)
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not secret.exists():
        if process.poll() not in (None, 0) or time.monotonic() - begun > 30:
            raise SystemExit(f"tests/bench: {command[0]} brought no secret")
        time.sleep(0.0005)
    passed = 1000 * (time.monotonic() - begun)
    process.wait()
    return passed


def shown(times):
    times = sorted(times)
    return f"{statistics.median(times):.0f} ms, p95 {times[int(0.95 * len(times))]:.0f} ms"


@row
def vault():
    """AppRole login to a KV secret in its file, by the agent's keeper alone (`examples/keep`): whole processes from their
    start, 40 in turn with Vault Agent and bao agent."""
    programs = {
        "Vault": Path(run(["tests/tools/hashicorp", "vault"]).strip()) / "vault",
        "OpenBao": Path(run(["tests/tools/openbao"]).strip()) / "bao",
    }
    figures = []
    for name, program in programs.items():
        with tempfile.TemporaryDirectory(dir="/dev/shm") as place, Server(program, Path(place)) as server:
            ours, theirs = server.keep(), server.agent()
            times = {"ours": [], "theirs": []}
            for number in range(RUNS + 2):
                for who, (command, secret) in (("ours", ours), ("theirs", theirs)):
                    passed = took(command, secret)
                    # The first two warm the caches.
                    if number >= 2:
                        times[who].append(passed)
        median = statistics.median(times["ours"])
        agent = {"Vault": "Vault Agent", "OpenBao": "bao agent"}[name]
        say(f"  {name}: { {who: [round(one) for one in sorted(every)] for who, every in times.items()} }")
        measured = f"{shown(times['ours'])} ({agent}: {shown(times['theirs'])})"
        figures.append(figure(f"login to secret on disk, {name}", "<= 60 ms", measured, median <= 60))
    return figures, {}
