#!/usr/bin/env python3
"""Holds what the roles of fleet/terraform/modules/iam may do against what the programs call: none too few, none too many.

    iam.py AUTOSCALER IMAGE CONSUL

All are programs; IMAGE is muster-image. Compared are, group by group of actions.json:

* `autoscaler`, `autoscaler_rollout`: with the table in fleet/aws/README.md, which a test of that crate proves to be the one
  table that all its calls go through; and with the calls that the loopback cloud saw, after the autoscaler held both kinds of fleets in
  it, replaced instances of them and rolled an image out: what was called without being granted, and what is granted, was not
  called, and is not in LATER;
* `image_publisher`: with the other table there, of what muster-image calls, and with the calls that the loopback cloud saw of
  its commands; what `bake` calls there, with `image_builder`;
* `image_builder`: by tests/tests/image.rs, with what a real Packer called;
* `node`: with the calls that bootstrap/aws sends, read from its source;
* `node_join`: with the calls that the loopback cloud saw of a real Consul;
* `fleet`, `image_keys`, `image_session`: with no call, because nobody here can make one. What is granted is in DOCUMENTED once
  more, with its source: nothing is added or left out without somebody looking there.

KMS, and what EC2 asks for on behalf of others (PassRole, RunInstances, CreateTags), no program calls by itself.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from served import free_ports

ROOT = Path(__file__).resolve().parents[3]
ACTIONS = json.loads((ROOT / "fleet/terraform/modules/iam/actions.json").read_text())
# On EC2's or KMS's behalf.
ASIDE = {"kms:Decrypt"}
# What the autoscaler calls only when something has happened that does not within these seconds, and when that is; fleet/aws/tests has
# the calls. All else that is granted is seen.
LATER = {
    "ec2:DescribeFleetHistory": "an EC2 Fleet is short of capacity for three minutes",
    "ec2:DescribeSpotFleetRequestHistory": "a Spot Fleet is short of capacity for three minutes",
    "ec2:DescribeSubnets": "an override names a subnet and no zone, which fleets of a world file do not",
}
# What AWS calls by itself, or can be called at AWS alone: group -> where it is said, and what.
DOCUMENTED = {
    # EC2 takes the role and launches with it. Left out: load balancers, which modules/fleet does not register at.
    "fleet": ("https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonEC2SpotFleetTaggingRole.html", {
        "ec2:CreateTags", "ec2:DescribeImages", "ec2:DescribeInstanceStatus", "ec2:DescribeSubnets", "ec2:RequestSpotInstances",
        "ec2:RunInstances", "ec2:TerminateInstances", "iam:PassRole"}),
    # EBS asks KMS with the rights of who launches and who makes an image.
    "image_keys": ("https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html", {
        "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"}),
    # Packer begins and ends the session (common/ssm of its plugin), AWS's session-manager-plugin speaks in it.
    "image_session": ("https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-restrict-access-quickstart.html", {
        "ec2:DescribeInstanceStatus", "ssm:StartSession", "ssm:TerminateSession", "ssmmessages:OpenDataChannel"}),
}
# All groups: what is in none of these is held against nothing.
HELD = {"autoscaler", "autoscaler_rollout", "image_builder", "image_publisher", "node", "node_join", *DOCUMENTED}
# Nobody needs a right for it.
FREE = {"sts:GetCallerIdentity"}
PATIENCE_SECONDS = 90
# So many entries a channel's journal keeps.
JOURNAL = int(re.search(r"const KEPT: u64 = (\d+);", (ROOT / "image/src/channel/journal.rs").read_text())[1])

# Two alike, whose instances are soon ready.
WORLD = """
pool "m5.large/eu-west-1a" { price = "0.041" }
pool "c5.large/eu-west-1b" { price = "0.039" }
fleet "web" {
  id = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
  target = 4
  load { demand = 6 }
}
fleet "batch" {
  id = "fleet-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
  backend = "ec2_fleet"
  target = 4
  load { demand = 6 }
}
timing {
  boot = "2s"
  modifying = "1s"
}
"""
POLICY = """
fleet "web" {
  id = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
  interruption {
    poll = "10s"
    rebalance = "replace"
  }
  drain { by = "nobody" }
  rollout { alarms = ["web-5xx"] }
}
fleet "batch" {
  id = "fleet-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
  interruption {
    poll = "10s"
    rebalance = "replace"
  }
  drain { by = "nobody" }
}
"""


def granted(*groups):
    """What groups of actions.json allow: action -> why."""
    return {one["action"]: one["why"] for group in groups for one in ACTIONS[group]}


def differ(what, have, want):
    """What is wrong, in words; nothing where the two are alike."""
    words = [f"{what}: {action} is granted, and nothing calls it" for action in sorted(have - want)]
    return words + [f"{what}: {action} is called, and not granted" for action in sorted(want - have)]


def declared(heading, by=r"\w+"):
    """A table of fleet/aws/README.md: action -> why.

    by: a pattern of who needs it
    """
    table = (ROOT / "fleet/aws/README.md").read_text().split(f"| Permission | {heading} | What for |")[1].split("\n\n")[0]
    return dict(re.findall(rf"^\| `([\w:-]+)` \| `{by}` \| (.+) \|$", table, re.M))


def called_by_the_agent():
    calls = set()
    for file in (ROOT / "bootstrap/aws/src").rglob("*.rs"):
        text = file.read_text().split("#[cfg(test)]")[0]
        # Where nothing is sent, a client is only made.
        for method in re.findall(r"\bself\s*\.ssm\s*\.(\w+)\(\)", text if ".send()" in text else ""):
            calls.add("ssm:" + "".join(word.capitalize() for word in method.split("_")))
        for action in re.findall(r'"Action", "(\w+)"', text):
            calls.add(f"ec2:{action}")
        for action in re.findall(r"Action=(\w+)", text):
            calls.add(f"sts:{action}")
    return calls - FREE


@contextlib.contextmanager
def running(command, environment=None, **streams):
    process = subprocess.Popen(command, env=environment, text=True, **streams)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Cloud:
    """The loopback cloud, by what its control endpoint tells and takes."""

    def __init__(self, environment):
        self.environment = {**environment, "AWS_EC2_METADATA_DISABLED": "true"}
        self.url, self.region = environment["AWS_ENDPOINT_URL"], environment["AWS_REGION"]
        self.services = {name.split(":")[1]: name for name in [*declared("Used by"), *declared("Command")]}
        self.services["DeleteMessageBatch"] = "sqs:DeleteMessage"

    def control(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.url}/_muster/{path}", data, timeout=10) as answer:
            return json.load(answer)

    def seen(self):
        """What was called. An action whose service is not known has its bare name."""
        return {self.services.get(name, name) for names in self.control("calls").values() for name in names}


@contextlib.contextmanager
def loopback_cloud(autoscaler, place):
    """One of its own for each caller."""
    (place / "world.hcl").write_text(expanded(WORLD))
    command = [autoscaler, "cloud", "--port", "0", "--world", place / "world.hcl", "--history", "1h"]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as served:
        yield Cloud(dict(re.findall(r"(\w+)=(\S+)", served.stdout.readline())))


def until(what, missing):
    """Waits until nothing is missing. * missing: says what is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while still := missing():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: within {PATIENCE_SECONDS} s not {still}")
        time.sleep(0.2)


def called_by_the_autoscaler(autoscaler, cloud, place, wanted):
    """Its calls, once those that are wanted are among them."""
    (place / "policy.hcl").write_text(expanded(POLICY))
    (port,) = free_ports(1)
    image = cloud.control("image", {"name": "muster-node-1", "tags": {"muster:image": "node"}})["image"]
    cloud.control("alarm", {"name": "web-5xx", "state": "OK"})
    command = [autoscaler, "run", "--policy", place / "policy.hcl", "--state", place / "state", "--listen", f"127.0.0.1:{port}",
               "--region", cloud.region, "--own-instance", "i-0", "--queue-url", f"{cloud.url}/123456789012/muster-events"]
    start = [autoscaler, "rollout", "start", "web", "--image", image, "--reason", "test", "--by", "test", "--address", f"http://127.0.0.1:{port}"]
    with open(place / "log", "w") as log, running(command, cloud.environment, stdout=subprocess.DEVNULL, stderr=log) as holder:
        def seen():
            if holder.poll() is not None:
                raise SystemExit(f"the autoscaler ended: {(place / 'log').read_text()}")
            return cloud.seen()

        def refused():
            answer = subprocess.run(start, capture_output=True, text=True)
            return answer.stderr if answer.returncode else None

        # It takes one once it has seen the fleet.
        until("a roll-out", refused)
        # Instances of both fleets are replaced.
        cloud.control("rebalance", {"pool": "c5.large/eu-west-1b"})
        until("the autoscaler", lambda: {"ec2:TerminateInstances"} - seen())
        # While it looks often EC2 shows fleets as they were before: what is new is gone.
        cloud.control("describe-lag", {"lag": "1m"})
        until("the autoscaler", lambda: wanted - seen())
        return seen()


def called_by_muster_image(program, cloud):
    """Its calls, by every command but `bake`."""
    day = 86_400

    def image(name, days, deprecated_days=None):
        tags = {"muster:image": "node", "muster:commit": "0123abc", "muster:playbook": "p1"}
        deprecated = {} if deprecated_days is None else {"deprecated_seconds": deprecated_days * day}
        return cloud.control("image", {"name": name, "age_seconds": days * day, "tags": tags, **deprecated})["image"]

    def call(*words):
        done = subprocess.run([program, *words, "--region", cloud.region], env=cloud.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"muster-image {' '.join(words)}: {done.stderr}")

    # One that is removed, one that is deprecated, and two that a channel has had in turn until its journal drops an entry.
    image("gone", 60, 20)
    image("old", 40)
    mine = [image("first", 2), image("second", 1)]
    for turn in range(JOURNAL + 2):
        call("publish", "--image", mine[turn % 2], "--unverified", "--again", "--share-with", "210987654321", "--tag", "team=web")
    call("promote")
    call("publish", "--image", mine[turn % 2 - 1], "--unverified", "--again", "--channel", "stable")
    call("rollback", "stable")
    call("channels")
    call("janitor", "--apply", "--newest", "0", "--account", "123456789012")
    return cloud.seen()


def called_by_consul(consul, cloud, place):
    """The calls of an agent that looks for its servers by their tag."""
    ports = dict(zip(("http", "serf_lan", "serf_wan", "server", "grpc"), free_ports(5), strict=True))
    (place / "consul.json").write_text(json.dumps({
        "data_dir": str(place / "consul"), "bind_addr": "127.0.0.1", "disable_update_check": True,
        "ports": {**ports, "dns": -1, "grpc_tls": -1},
        "retry_join": [f"provider=aws region={cloud.region} tag_key=consul tag_value=server endpoint={cloud.url}"], "retry_interval": "1s",
    }))
    command = [consul, "agent", "-config-file", place / "consul.json"]
    with running(command, cloud.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        until("Consul", lambda: None if cloud.seen() else "a call")
        # What else it might call, it would call now.
        time.sleep(2)
        return cloud.seen()


def expanded(text):
    """One attribute a line, as these files are written: `a { b = 1 }` is three."""
    return re.sub(r"\{ (\w+ = [^}]+?) \}", r"{\n    \1\n  }", text)


def main(autoscaler, image_program, consul):
    known, image, bake = declared("Used by"), declared("Command", r"(?!bake`)\w+"), declared("Command", "bake")
    # What EC2 asks for by itself in a roll-out is no call of anybody's.
    rollout = {action: why for action, why in granted("autoscaler_rollout").items() if action in known}
    own = granted("autoscaler") | rollout
    wanted = set(known) - set(LATER)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with loopback_cloud(autoscaler, place) as cloud:
            joining = called_by_consul(consul, cloud, place)
        with loopback_cloud(autoscaler, place) as cloud:
            publishing = called_by_muster_image(image_program, cloud)
        with loopback_cloud(autoscaler, place) as cloud:
            seen = called_by_the_autoscaler(autoscaler, cloud, place, wanted)
    wrong = []
    # Packer removes what it has made by itself, too.
    baker = {action: why for action, why in granted("image_builder").items() if action in bake}
    whose = [("the autoscaler", own, known), ("muster-image", granted("image_publisher"), image), ("muster-image bake", baker, bake)]
    for who, has, table in whose:
        wrong += differ(who, set(has) - ASIDE, set(table))
        wrong += [f"{who}: the reason of {action} is not that of fleet/aws" for action in sorted(set(has) & set(table))
                  if has[action] != table[action]]
    agent = called_by_the_agent()
    wrong += differ("the nodes", set(granted("node")) - ASIDE, agent)
    wrong += differ("who joins", set(granted("node_join")), joining)
    wrong += differ("who publishes", set(granted("image_publisher")) - ASIDE, publishing)
    wrong += [f"the autoscaler: the loopback cloud saw {action}, which is not granted" for action in sorted(seen - set(own))]
    wrong += [f"the autoscaler: {action} is said to be called later, and is not granted" for action in sorted(set(LATER) - set(own))]
    wrong += [f"the autoscaler: {action} is said to be called later, and was seen" for action in sorted(set(LATER) & seen)]
    wrong += [f"{group} is held against nothing" for group in sorted(set(ACTIONS) - HELD)]
    for group, (source, actions) in DOCUMENTED.items():
        wrong += differ(f"{group} ({source})", set(granted(group)), actions)
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"IAM: seen by the loopback cloud were {len(wanted)} of the autoscaler's {len(known)} actions and {len(publishing)} of muster-image's "
          f"{len(image) + len(bake)}, all but those of `bake`; nodes have the {len(agent)} that the agent sends and the {len(joining)} that Consul "
          "does; none is granted that nothing calls")


if __name__ == "__main__":
    main(*sys.argv[1:])
