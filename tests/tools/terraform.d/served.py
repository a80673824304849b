#!/usr/bin/env python3
"""Has real Nomad, Consul and Vault take what the modules make for them, and tries the rights of a node and of jobs.

    served.py MADE PORT SERVERS

MADE is a file with what `terraform test -json -verbose` says of servers/, PORT the one that Nomad is to have (`served.py port` finds
one: the address of its keys is part of what is made), SERVERS the directory of the programs. The providers themselves cannot be
had here: each resource is sent by the call that its provider makes.

Real jobs run on a client of that Nomad: the autoscaler's as it ships, with a program that only sleeps, and others. What their
identities are given by Consul, Vault, Nomad and AWS's trust, and what they are refused, is tried with the tokens that Nomad had
for them.
"""

import base64
import contextlib
import fnmatch
import graphlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MANAGEMENT = "5e0f2a52-6c1e-4f1b-9d57-0d7c2f3b8a11"
PATIENCE_SECONDS = 90
# Whom Nomad signs identities for.
AUDIENCES = {"aws": "sts.amazonaws.com", "consul": "consul.io", "vault": "vault.io"}
AUTOSCALER = "muster-autoscaler"
# Secrets of Nomad's jobs: namespace, job, and what lies beneath.
SECRETS = ["default/web", "default/web/db", "default/web-2/db", "other/web/db", f"other/{AUTOSCALER}/db"]


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

    def refuses(self, method, path, body=None, words="403"):
        try:
            self(method, path, body)
        except Refused as refusal:
            assert words in str(refusal), refusal
            return
        raise AssertionError(f"{method} {path} is allowed")


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def await_(what, ready, process=None):
    """Waits until something is ready: until it answers, and not with nothing. * returns: the answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if process and process.poll() is not None:
            raise SystemExit(f"{what} ended with {process.returncode}")
        error = None
        try:
            if answer := ready():
                return answer
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
        "data_dir": str(place / "consul"), "disable_update_check": True, "performance": {"raft_multiplier": 1},
        "ports": {"http": http, "serf_lan": serf, "serf_wan": serf_wan, "server": rpc, "grpc": grpc, "dns": -1, "grpc_tls": -1},
        "acl": {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": MANAGEMENT, "agent": MANAGEMENT}},
    }))
    with program([binary, "agent", "-config-file", place / "consul.json"], place / "consul.log") as process:
        api = Api(f"http://127.0.0.1:{http}", "X-Consul-Token")
        await_("Consul", lambda: api("GET", "/v1/acl/tokens"), process)
        yield api


def unmounted(place):
    """Takes away what a client has mounted for the secrets of its tasks, where it is root."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in mounts:
        if mount.startswith(f"{place}/"):
            subprocess.run(["umount", "--lazy", mount], check=True)


@contextlib.contextmanager
def nomad(binary, place, http, consul, vault):
    """A server and a client in one, whose jobs have their tokens of Consul and Vault as the modules' pages say."""
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
          oidc_issuer = "https://nomad.example.com"
        }}
        client {{
          enabled = true
          node_pool = "core"
          network_interface = "lo"
          cpu_total_compute = 2000
          options {{
            "driver.allowlist" = "raw_exec"
            "fingerprint.denylist" = "env_aws,env_azure,env_digitalocean,env_gce,bridge,cni"
          }}
        }}
        plugin "raw_exec" {{
          config {{
            enabled = true
          }}
        }}
        acl {{
          enabled = true
        }}
        consul {{
          address = "{consul.url.removeprefix("http://")}"
          token = "{MANAGEMENT}"
          auto_advertise = false
          client_auto_join = false
          server_auto_join = false
          service_identity {{
            aud = ["consul.io"]
          }}
          task_identity {{
            aud = ["consul.io"]
          }}
        }}
        vault {{
          enabled = true
          address = "{vault.url.removesuffix("/v1")}"
          jwt_auth_backend_path = "jwt-nomad"
          default_identity {{
            aud = ["vault.io"]
          }}
        }}
    """)
    with program([binary, "agent", "-config", place / "nomad.hcl"], place / "nomad.log") as process:
        api = Api(f"http://127.0.0.1:{http}", "X-Nomad-Token")
        await_("Nomad", lambda: api("POST", "/v1/acl/bootstrap", {"BootstrapSecret": MANAGEMENT}), process)
        await_("Nomad's keys", lambda: api("GET", "/.well-known/jwks.json")["keys"], process)
        try:
            yield api
        finally:
            process.kill()
            process.wait()
            unmounted(place)


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
    """The call of a resource's provider. * returns: what the server itself says of it: attribute -> value."""
    name = values.get("name")
    match kind:
        case "nomad_acl_policy":
            job = values["job_acl"][0] if values["job_acl"] else None
            bound = {"JobACL": {"Namespace": job["namespace"], "JobID": job["job_id"]}} if job else {}
            nomad("POST", f"/v1/acl/policy/{name}", {"Name": name, "Description": values["description"], "Rules": values["rules_hcl"], **bound})
        case "nomad_node_pool":
            nomad("PUT", f"/v1/node/pool/{name}", {"Name": name, "Description": values["description"], "Meta": values["meta"]})
        case "consul_acl_policy":
            made = consul("PUT", "/v1/acl/policy", {"Name": name, "Description": values["description"], "Rules": values["rules"]})
            return {"id": made["ID"]}
        case "consul_acl_auth_method":
            consul("PUT", "/v1/acl/auth-method", {"Name": name, "Type": values["type"], "Config": json.loads(values["config_json"]), "MaxTokenTTL": values["max_token_ttl"]})
        case "consul_acl_role":
            consul("PUT", "/v1/acl/role", {"Name": name, "Policies": [{"ID": policy} for policy in values["policies"]]})
        case "consul_acl_binding_rule":
            consul("PUT", "/v1/acl/binding-rule", given(values, auth_method="AuthMethod", bind_type="BindType", bind_name="BindName", selector="Selector"))
        case "vault_policy":
            vault("PUT", f"/sys/policies/acl/{name}", {"policy": values["policy"]})
        case "vault_auth_backend":
            vault("POST", f"/sys/auth/{values['path']}", {"type": values["type"]})
            return {"accessor": vault("GET", f"/sys/auth/{values['path']}")["accessor"]}
        case "vault_aws_auth_backend_client":
            vault("POST", f"/auth/{values['backend']}/config/client", given(values, "iam_server_id_header_value", "sts_endpoint", "sts_region"))
        case "vault_aws_auth_backend_role":
            vault("POST", f"/auth/{values['backend']}/role/{values['role']}", given(
                values, "auth_type", "resolve_aws_unique_ids", "token_policies", "token_ttl", "token_max_ttl", bound_iam_principal_arns="bound_iam_principal_arn"))
        case "vault_jwt_auth_backend":
            vault("POST", f"/sys/auth/{values['path']}", {"type": "jwt"})
            vault("POST", f"/auth/{values['path']}/config", given(values, "jwks_url", "jwks_ca_pem", "jwt_supported_algs", "default_role"))
            return {"accessor": vault("GET", f"/sys/auth/{values['path']}")["accessor"]}
        case "vault_jwt_auth_backend_role":
            vault("POST", f"/auth/{values['backend']}/role/{values['role_name']}", given(
                values, "role_type", "bound_audiences", "bound_claims", "user_claim", "claim_mappings",
                "token_type", "token_policies", "token_period"))
        case "vault_consul_secret_backend_role":
            vault("POST", f"/{values['backend']}/roles/{name}", given(values, "consul_policies", "ttl", "max_ttl"))
        case "vault_nomad_secret_role":
            vault("POST", f"/{values['backend']}/role/{values['role']}", given(values, "type", "policies"))
        case _:
            raise SystemExit(f"nobody says here how {kind} is made")


def made(text):
    """The resources that a test of Terraform made, each after those that it names."""
    def beneath(module):
        yield from module.get("resources", [])
        for child in module.get("child_modules", []):
            yield from beneath(child)

    (state,) = [event["test_state"] for event in map(json.loads, text.splitlines()) if event["type"] == "test_state"]
    resources = {one["address"]: one for one in beneath(state["root_module"]) if one["mode"] == "managed"}
    # What is named is named without the index.
    of_names = {}
    for address in resources:
        of_names.setdefault(re.sub(r"\[[^]]+\]$", "", address), []).append(address)
    order = graphlib.TopologicalSorter({
        address: [found for name in one.get("depends_on", []) for found in of_names.get(name, [])] for address, one in resources.items()
    })
    return [resources[address] for address in order.static_order()]


def taken(resources, nomad, consul, vault):
    """Has the servers take resources. What only they know, ids and accessors, stands as a mock's word in what names it."""
    words = {}
    for resource in resources:
        text = json.dumps(resource["values"])
        for mocked, real in words.items():
            text = text.replace(mocked, real)
        known = send(resource["type"], json.loads(text), nomad, consul, vault) or {}
        words |= {resource["values"][attribute]: real for attribute, real in known.items()}


def engines(nomad, consul, vault):
    """What the modules leave to others: the secrets engines, and what is in them."""
    for name, kind in (("kv", "kv-v2"), ("consul", "consul"), ("nomad", "nomad"), ("pki", "pki")):
        vault("POST", f"/sys/mounts/{name}", {"type": kind})
    vault("POST", "/consul/config/access", {"address": consul.url.removeprefix("http://"), "scheme": "http", "token": MANAGEMENT})
    vault("POST", "/nomad/config/access", {"address": nomad.url, "token": MANAGEMENT})
    vault("POST", "/pki/root/generate/internal", {"common_name": "lab", "key_type": "ec"})
    vault("POST", "/pki/roles/muster", {"allowed_domains": "muster-autoscaler.service.consul", "allow_bare_domains": True, "key_type": "ec"})
    for path in ("node/web", *SECRETS):
        # An engine of version 2 is upgraded for a moment after it was mounted.
        await_(f"kv/{path}", lambda path=path: vault("POST", f"/kv/data/{path}", {"data": {"key": path}}))


def a_node_may(nomad, consul, vault):
    """With a token of the nodes' policy: what it may, and what it may not."""
    token = vault("POST", "/auth/token/create", {"policies": ["muster-node"], "ttl": "1h"})["auth"]["client_token"]
    node = vault.having(token)
    assert node("GET", "/kv/data/node/web")["data"]["data"] == {"key": "node/web"}
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


def asks(name, namespace):
    """A job that has a token of Vault by Nomad's defaults, a service, and in files its identities for all others."""
    identities = "".join(f"""
              identity {{
                name = "for_{name}"
                aud = ["{audience}"]
                file = true
              }}""" for name, audience in AUDIENCES.items())
    return f"""
        job "{name}" {{
          namespace = "{namespace}"
          node_pool = "core"
          # Without a deployment, which nobody waits for.
          update {{
            max_parallel = 0
          }}
          group "all" {{
            service {{
              name = "{name}-of-{namespace}"
            }}
            task "sleep" {{
              driver = "raw_exec"
              config {{
                command = "/bin/sleep"
                args = ["600"]
              }}
              vault {{}}
              identity {{
                file = true
              }}
              {identities}
              resources {{
                cpu = 50
                memory = 32
              }}
            }}
          }}
        }}
    """


@contextlib.contextmanager
def running(binary, place, nomad, job, *arguments, namespace="default"):
    """Runs a job, given as its file. * gives: what its task has of a name in its directory of secrets, once it runs."""
    name = re.search(r'^ *job "([^"]+)"', job.read_text(), re.M)[1]
    answer = subprocess.run([binary, "job", "run", "-detach", *arguments, job], capture_output=True, text=True,
                            env={"NOMAD_ADDR": nomad.url, "NOMAD_TOKEN": MANAGEMENT})
    if answer.returncode != 0:
        raise SystemExit(f"{name}: {answer.stderr}")
    path = f"/v1/job/{name}"
    of_it = f"namespace={namespace}"

    def allocations():
        return nomad("GET", f"{path}/allocations?{of_it}")

    def first():
        found = [one for one in allocations() if one["ClientStatus"] == "running"]
        if any(one["ClientStatus"] == "failed" for one in allocations()):
            raise SystemExit(f"{name} of {namespace} failed")
        return found and found[0]

    try:
        try:
            allocation = await_(f"{name} of {namespace}", first)
        except SystemExit as reason:
            said = [event["DisplayMessage"] for one in allocations() for task in (one["TaskStates"] or {}).values() for event in task["Events"]]
            raise SystemExit(f"{reason}: {said}") from reason
        (task,) = allocation["TaskStates"]
        secrets = place / "nomad/alloc" / allocation["ID"] / task / "secrets"
        yield lambda file: (secrets / file).read_text()
    finally:
        # Its tasks would outlive a client that is killed.
        nomad("DELETE", f"{path}?{of_it}")
        await_(f"{name}'s end", lambda: all(one["ClientStatus"] in ("complete", "failed", "lost") for one in allocations()))


def jobs_may(binary, place, roles, nomad, consul, vault):
    """With the identities of real jobs and the tokens that Nomad had for them: what each may, and what it may not."""
    nomad("PUT", "/v1/namespace/other", {"Name": "other"})
    with contextlib.ExitStack() as stack:
        def run(file, *arguments, **options):
            return stack.enter_context(running(binary, place, nomad, file, *arguments, **options))

        others = []
        for name, namespace in (("web", "default"), (AUTOSCALER, "other")):
            file = place / f"{name}.nomad.hcl"
            file.write_text(asks(name, namespace))
            others.append(run(file, namespace=namespace))
        # The job as it ships, but for the program.
        sleeper = place / "sleeper"
        sleeper.write_text("#!/bin/sh\nexec sleep 600\n")
        sleeper.chmod(0o755)
        variables = {"policy": "# none", "node_pool": "core", "driver": "raw_exec", "command": sleeper, "tls_role": "pki/issue/muster"}
        own = run(ROOT / "autoscaler/nomad/job/muster-autoscaler.nomad.hcl", *[f"-var={name}={value}" for name, value in variables.items()])

        vault_gives(vault, own, *others)
        consul_gives(consul, own, *others)
        nomad_gives(nomad, own, *others)
        identities = [own("nomad_aws.jwt"), own("nomad_token"), *(one("nomad_for_aws.jwt") for one in others)]
        admitted = [trusts(roles["autoscaler"], claims(identity)) for identity in identities]
        assert admitted == [True, False, False, False], admitted


def vault_gives(vault, own, web, elsewhere):
    """A job reads what lies beneath its namespace and its name, and nothing else; the autoscaler has its certificate alone."""
    for job, mine in ((web, "default/web"), (elsewhere, f"other/{AUTOSCALER}")):
        token = vault.having(job("vault_token"))
        about = token("GET", "/auth/token/lookup-self")["data"]
        assert (about["policies"], about["period"], about["explicit_max_ttl"]) == (["default", "nomad-workloads"], 1800, 0), about
        for path in SECRETS:
            if f"{path}/".startswith(f"{mine}/"):
                assert token("GET", f"/kv/data/{path}")["data"]["data"] == {"key": path}
            else:
                token.refuses("GET", f"/kv/data/{path}")
        token.refuses("POST", f"/kv/data/{mine}/db", {"data": {"key": "changed"}})
        token.refuses("POST", "/pki/issue/muster", {"common_name": f"{AUTOSCALER}.service.consul"})

    # As its template had it, by its own token.
    assert "BEGIN CERTIFICATE" in own("tls/bundle.pem")
    token = vault.having(own("vault_token"))
    about = token("GET", "/auth/token/lookup-self")["data"]
    assert (about["policies"], about["period"], about["explicit_max_ttl"]) == (["default", AUTOSCALER], 1800, 0), about
    for path in SECRETS:
        token.refuses("GET", f"/kv/data/{path}")

    # Its role is nobody else's, and what was signed for others is for none.
    def login(identity, role):
        return "POST", "/auth/jwt-nomad/login", {"jwt": identity, "role": role}

    anybody = vault.having("")
    for job in (web, elsewhere):
        anybody.refuses(*login(job("nomad_for_vault.jwt"), AUTOSCALER), "does not match any associated bound claim values")
    for identity in (own("nomad_aws.jwt"), own("nomad_token"), web("nomad_for_consul.jwt")):
        anybody.refuses(*login(identity, "nomad-workloads"), "audience")


def consul_gives(consul, own, web, elsewhere):
    """The autoscaler's task has its role, services are themselves, and other tasks have nothing."""
    tokens = [one for one in consul("GET", "/v1/acl/tokens") if one.get("AuthMethod") == "nomad-workloads"]
    kinds = ("NodeIdentities", "Policies", "Roles", "ServiceIdentities")
    given = [[(kind, one.get("Name") or one.get("ServiceName")) for kind in kinds for one in token.get(kind) or []] for token in tokens]
    services = [AUTOSCALER, f"{AUTOSCALER}-of-other", "web-of-default"]
    assert sorted(given) == [[("Roles", AUTOSCALER)], *([("ServiceIdentities", name)] for name in services)], given

    holder = consul.having(own("consul_token"))
    session = holder("PUT", "/v1/session/create", {"Node": "server"})["ID"]
    holder("PUT", f"/v1/kv/{AUTOSCALER}/leader?acquire={session}", "1")
    holder("PUT", "/v1/agent/service/register", {"Name": f"{AUTOSCALER}-election"})
    holder.refuses("PUT", "/v1/kv/muster-bootstrap/breaker/ami-1", "1")
    holder.refuses("PUT", "/v1/agent/service/register", {"Name": AUTOSCALER})

    anybody = consul.having("")
    for identity, words in (
        (web("nomad_for_consul.jwt"), "403"), (elsewhere("nomad_for_consul.jwt"), "403"),
        (own("nomad_aws.jwt"), "audience"), (web("nomad_for_vault.jwt"), "audience"),
    ):
        anybody.refuses("POST", "/v1/acl/login", {"AuthMethod": "nomad-workloads", "BearerToken": identity}, words)


def nomad_gives(nomad, own, web, elsewhere):
    """The autoscaler's task: nodes, what runs on them, and counts where groups are scaled along; other tasks: none of it."""
    (node,) = nomad("GET", "/v1/nodes")
    eligibility, count = f"/v1/node/{node['ID']}/eligibility", {"Count": 2, "Target": {"Group": "all"}}
    task = nomad.having(own("nomad_token"))
    task("GET", "/v1/nodes")
    task("POST", eligibility, {"Eligibility": "ineligible"})
    task("GET", f"/v1/job/{AUTOSCALER}?namespace=other")
    task("POST", "/v1/job/web/scale", count)
    task.refuses("POST", f"/v1/job/{AUTOSCALER}/scale?namespace=other", count)
    task.refuses("DELETE", "/v1/job/web")
    for job in (web, elsewhere):
        task = nomad.having(job("nomad_token"))
        task.refuses("GET", "/v1/nodes")
        task.refuses("POST", eligibility, {"Eligibility": "eligible"})


def claims(identity):
    """What a JWT says, unverified."""
    text = identity.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def trusts(policy, claims):
    """Whether the trust policy of a role admits who shows these claims, as STS has it: AssumeRoleWithWebIdentity."""
    (statement,) = [one for one in json.loads(policy)["Statement"] if one["Action"] == "sts:AssumeRoleWithWebIdentity"]
    condition = statement["Condition"]
    issuer = claims["iss"].removeprefix("https://")
    # No more than one audience: STS wants it so.
    equal = all(claims.get(key.removeprefix(f"{issuer}:")) in (value, [value]) for key, value in condition["StringEquals"].items())
    return equal and all(fnmatch.fnmatchcase(claims.get(key.removeprefix(f"{issuer}:"), ""), value) for key, value in condition["StringLike"].items())


def main(file, jwks_port, servers):
    servers = Path(servers)
    all_made = made(Path(file).read_text())
    resources = [one for one in all_made if not one["type"].startswith("aws_")]
    roles = {one["name"]: one["values"]["assume_role_policy"] for one in all_made if one["type"] == "aws_iam_role"}
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        place = Path(directory)
        with_consul = stack.enter_context(consul(servers / "consul", place))
        with_vault = stack.enter_context(vault(servers / "vault", place))
        with_nomad = stack.enter_context(nomad(servers / "nomad", place, int(jwks_port), with_consul, with_vault))
        apis = (with_nomad, with_consul, with_vault)
        engines(*apis)
        taken(resources, *apis)
        a_node_may(*apis)
        jobs_may(servers / "nomad", place, roles, *apis)
    print(f"servers: Nomad, Consul and Vault took {len(resources)} resources; a node and jobs may what they should, and no more")


if __name__ == "__main__":
    if sys.argv[1:] == ["port"]:
        # Where Nomad will be: its keys' address is part of what is made.
        print(free_ports(1)[0])
    else:
        main(*sys.argv[1:])
