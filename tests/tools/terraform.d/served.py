#!/usr/bin/env python3
"""Has real Nomad, Consul and Vault take what the modules plan for them, and tries the rights of a node.

    served.py PLAN PORT SERVERS

PLAN is a file with `terraform show -json` of servers/, PORT the one that Nomad is to have (`served.py port` finds one: the address
of its keys is part of the plan), SERVERS the directory of the programs. The providers themselves cannot be had here: each
planned resource is sent by the call that its provider makes.
"""

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

MANAGEMENT = "5e0f2a52-6c1e-4f1b-9d57-0d7c2f3b8a11"
PATIENCE_SECONDS = 90


class Refused(Exception):
    """A server's refusal: its status and its words."""


class Api:
    """A server, spoken to with one token."""

    def __init__(self, url, header, token=MANAGEMENT):
        self.url, self.header, self.token = url, header, token

    def having(self, token):
        return Api(self.url, self.header, token)

    def __call__(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {self.header: self.token}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(f"{error.code}: {method} {path}: {error.read().decode(errors='replace')[:500]}") from error
        return json.loads(text) if text.strip().startswith((b"{", b"[")) else None

    def refuses(self, method, path, body=None):
        try:
            self(method, path, body)
        except Refused as refusal:
            assert str(refusal).startswith("403"), refusal
            return
        raise AssertionError(f"{method} {path} is allowed")


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def await_(what, ready, process):
    """Waits until something is ready: until it answers, and not with nothing."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if process.poll() is not None:
            raise SystemExit(f"{what} ended with {process.returncode}")
        error = None
        try:
            if ready():
                return
        except (OSError, Refused) as refusal:
            error = refusal
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} is not ready: {error}")
        time.sleep(0.2)


@contextlib.contextmanager
def program(command, log):
    with open(log, "w") as output:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=subprocess.STDOUT,
                                   env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(log.parent)})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def consul(binary, place):
    http, serf, serf_wan, rpc, grpc = free_ports(5)
    (place / "consul.json").write_text(json.dumps({
        "datacenter": "dc1", "node_name": "server", "server": True, "bootstrap_expect": 1, "bind_addr": "127.0.0.1",
        "data_dir": str(place / "consul"), "disable_update_check": True,
        "ports": {"http": http, "serf_lan": serf, "serf_wan": serf_wan, "server": rpc, "grpc": grpc, "dns": -1, "grpc_tls": -1},
        "acl": {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": MANAGEMENT, "agent": MANAGEMENT}},
    }))
    with program([binary, "agent", "-config-file", place / "consul.json"], place / "consul.log") as process:
        api = Api(f"http://127.0.0.1:{http}", "X-Consul-Token")
        await_("Consul", lambda: api("GET", "/v1/acl/tokens"), process)
        yield api


@contextlib.contextmanager
def nomad(binary, place, http):
    rpc, serf = free_ports(2)
    (place / "nomad.hcl").write_text(f"""
        name = "server"
        data_dir = "{place}/nomad"
        bind_addr = "127.0.0.1"
        disable_update_check = true
        addresses {{
          http = "127.0.0.1"
        }}
        advertise {{
          http = "127.0.0.1"
          rpc = "127.0.0.1"
          serf = "127.0.0.1"
        }}
        ports {{
          http = {http}
          rpc = {rpc}
          serf = {serf}
        }}
        server {{
          enabled = true
          bootstrap_expect = 1
        }}
        acl {{
          enabled = true
        }}
    """)
    with program([binary, "agent", "-config", place / "nomad.hcl"], place / "nomad.log") as process:
        api = Api(f"http://127.0.0.1:{http}", "X-Nomad-Token")
        await_("Nomad", lambda: api("POST", "/v1/acl/bootstrap", {"BootstrapSecret": MANAGEMENT}), process)
        await_("Nomad's keys", lambda: api("GET", "/.well-known/jwks.json")["keys"], process)
        yield api


@contextlib.contextmanager
def vault(binary, place):
    (http,) = free_ports(1)
    listen = f"-dev-listen-address=127.0.0.1:{http}"
    with program([binary, "server", "-dev", f"-dev-root-token-id={MANAGEMENT}", listen], place / "vault.log") as process:
        api = Api(f"http://127.0.0.1:{http}/v1", "X-Vault-Token")
        await_("Vault", lambda: api("GET", "/sys/health"), process)
        yield api


def given(values, *names, **renamed):
    """Of a resource's values those that are set, under the API's names."""
    pairs = {**{name: name for name in names}, **renamed}
    return {theirs: values[ours] for ours, theirs in pairs.items() if values.get(ours) not in (None, [], {})}


def send(kind, values, nomad, consul, vault):
    """The call of a resource's provider."""
    name = values.get("name")
    match kind:
        case "nomad_acl_policy":
            job = values["job_acl"][0] if values["job_acl"] else None
            bound = {"JobACL": {"Namespace": job["namespace"], "JobID": job["job_id"]}} if job else {}
            nomad("POST", f"/v1/acl/policy/{name}", {"Name": name, "Description": values["description"], "Rules": values["rules_hcl"], **bound})
        case "nomad_node_pool":
            nomad("PUT", f"/v1/node/pool/{name}", {"Name": name, "Description": values["description"], "Meta": values["meta"]})
        case "consul_acl_policy":
            consul("PUT", "/v1/acl/policy", {"Name": name, "Description": values["description"], "Rules": values["rules"]})
        case "consul_acl_auth_method":
            consul("PUT", "/v1/acl/auth-method", {"Name": name, "Type": values["type"], "Config": json.loads(values["config_json"]), "MaxTokenTTL": values["max_token_ttl"]})
        case "consul_acl_role":
            # The ids of policies are not known in a plan: this role's policy has its name.
            consul("PUT", "/v1/acl/role", {"Name": name, "Policies": [{"Name": name}]})
        case "consul_acl_binding_rule":
            consul("PUT", "/v1/acl/binding-rule", given(values, auth_method="AuthMethod", bind_type="BindType", bind_name="BindName", selector="Selector"))
        case "vault_policy":
            # Rules that name the accessor of an auth method are not known in a plan.
            if "policy" in values:
                vault("PUT", f"/sys/policies/acl/{name}", {"policy": values["policy"]})
        case "vault_auth_backend":
            vault("POST", f"/sys/auth/{values['path']}", {"type": values["type"]})
        case "vault_aws_auth_backend_client":
            vault("POST", f"/auth/{values['backend']}/config/client", given(values, "iam_server_id_header_value", "sts_endpoint", "sts_region"))
        case "vault_aws_auth_backend_role":
            vault("POST", f"/auth/{values['backend']}/role/{values['role']}", given(
                values, "auth_type", "resolve_aws_unique_ids", "token_policies", "token_ttl", "token_max_ttl", bound_iam_principal_arns="bound_iam_principal_arn"))
        case "vault_jwt_auth_backend":
            vault("POST", f"/sys/auth/{values['path']}", {"type": "jwt"})
            vault("POST", f"/auth/{values['path']}/config", given(values, "jwks_url", "jwks_ca_pem", "jwt_supported_algs", "default_role"))
        case "vault_jwt_auth_backend_role":
            vault("POST", f"/auth/{values['backend']}/role/{values['role_name']}", given(
                values, "role_type", "bound_audiences", "bound_claims", "user_claim", "user_claim_json_pointer", "claim_mappings",
                "token_type", "token_policies", "token_period"))
        case "vault_consul_secret_backend_role":
            vault("POST", f"/{values['backend']}/roles/{name}", given(values, "consul_policies", "ttl", "max_ttl"))
        case "vault_nomad_secret_role":
            vault("POST", f"/{values['backend']}/role/{values['role']}", given(values, "type", "policies"))
        case _:
            raise SystemExit(f"nobody says here how {kind} is made")


# What others stand on comes first: a role stands on its policy, a rule on its method.
ORDER = ["policy", "auth_method", "auth_backend", "role", "rule", "pool"]


def in_order(resource):
    return min((place for place, word in enumerate(ORDER) if resource["type"].endswith(word)), default=len(ORDER))


def planned(plan):
    def beneath(module):
        yield from module.get("resources", [])
        for child in module.get("child_modules", []):
            yield from beneath(child)

    return sorted(beneath(plan["planned_values"]["root_module"]), key=in_order)


def engines(nomad, consul, vault):
    """What the modules leave to others: the secrets engines."""
    for name, kind in (("kv", "kv-v2"), ("consul", "consul"), ("nomad", "nomad")):
        vault("POST", f"/sys/mounts/{name}", {"type": kind})
    vault("POST", "/consul/config/access", {"address": consul.url.removeprefix("http://"), "scheme": "http", "token": MANAGEMENT})
    vault("POST", "/nomad/config/access", {"address": nomad.url, "token": MANAGEMENT})
    # An engine of version 2 is upgraded for a moment after it was mounted.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return vault("POST", "/kv/data/node/web", {"data": {"key": "value"}})
        except Refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def a_node_may(nomad, consul, vault):
    """With a token of the nodes' policy: what it may, and what it may not."""
    token = vault("POST", "/auth/token/create", {"policies": ["muster-node"], "ttl": "1h"})["auth"]["client_token"]
    node = vault.having(token)
    assert node("GET", "/kv/data/node/web")["data"]["data"] == {"key": "value"}
    node.refuses("GET", "/kv/data/other/web")
    node.refuses("GET", "/sys/policies/acl?list=true")

    with_consul = consul.having(node("GET", "/consul/creds/muster-node")["data"]["token"])
    entry = {"Node": "i-0123456789abcdef0", "Address": "10.0.0.1", "Service": {"Service": "muster-node"}}
    with_consul("PUT", "/v1/catalog/register", entry)
    with_consul("PUT", "/v1/kv/muster-bootstrap/breaker/ami-1", "1")
    with_consul.refuses("PUT", "/v1/catalog/register", {**entry, "Node": "server"})
    with_consul.refuses("PUT", "/v1/catalog/register", {**entry, "Service": {"Service": "vault"}})
    with_consul.refuses("PUT", "/v1/kv/muster-autoscaler/leader", "1")

    with_nomad = nomad.having(node("GET", "/nomad/creds/muster-node")["data"]["secret_id"])
    with_nomad("GET", "/v1/nodes")
    with_nomad.refuses("POST", "/v1/node/8a3c1f6e-0000-0000-0000-000000000000/eligibility", {"Eligibility": "ineligible"})
    with_nomad.refuses("GET", "/v1/jobs")


def main(plan, jwks_port, servers):
    servers = Path(servers)
    resources = planned(json.loads(Path(plan).read_text()))
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        place = Path(directory)
        apis = (
            stack.enter_context(nomad(servers / "nomad", place, int(jwks_port))),
            stack.enter_context(consul(servers / "consul", place)),
            stack.enter_context(vault(servers / "vault", place)),
        )
        engines(*apis)
        for resource in resources:
            send(resource["type"], resource["values"], *apis)
        a_node_may(*apis)
    print(f"servers: Nomad, Consul and Vault took the {len(resources)} planned resources, and a node may what it should")


if __name__ == "__main__":
    if sys.argv[1:] == ["port"]:
        # Where Nomad will be: its keys' address is part of the plan.
        print(free_ports(1)[0])
    else:
        main(*sys.argv[1:])
