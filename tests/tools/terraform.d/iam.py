#!/usr/bin/env python3
"""Holds what the roles of fleet/terraform/modules/iam may do against what the programs call: none too few, none too many.

    iam.py AUTOSCALER

AUTOSCALER is the program. Compared are:

* the autoscaler's actions with the table in fleet/aws/README.md, which a test of that crate proves to be the one table
  that all its calls go through;
* the actions of who publishes images with the other table there, of what muster-image calls; those of who bakes them are
  compared by tests/tests/image.rs, with what a real Packer called;
* the nodes' actions with the calls that bootstrap/aws sends, read from its source;
* the autoscaler's actions with the calls that the loopback cloud saw, after both kinds of fleets were held in it for a
  while: what was called without being granted, and what is granted, was not called, and is not listed with the situation in
  which it is.

KMS, and what EC2 asks for on behalf of others (PassRole, RunInstances, CreateTags), no program calls by itself.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ACTIONS = json.loads((ROOT / "fleet/terraform/modules/iam/actions.json").read_text())
# On EC2's or KMS's behalf.
ASIDE = {"kms:Decrypt"}
# What whoever holds a Spot Fleet and an EC2 Fleet, and reads a queue, calls within seconds.
SOON = {
    "application-autoscaling:DescribeScalableTargets",
    "cloudwatch:GetMetricData",
    "ec2:DescribeFleets",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeInstances",
    "ec2:DescribeSpotFleetRequests",
    "ec2:DescribeSpotInstanceRequests",
    "ec2:DescribeSpotPriceHistory",
    "ec2:ModifySpotFleetRequest",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
}
# What it calls only when something has happened that does not within these seconds, and when that is. All that is granted is here or
# was seen: what nothing calls is neither.
LATER = {
    "cloudwatch:DescribeAlarms": "a roll-out goes on, whose policy names alarms",
    "ec2:CreateLaunchTemplateVersion": "a roll-out of an image begins",
    "ec2:DescribeFleetHistory": "an EC2 Fleet is short of capacity for minutes",
    "ec2:DescribeFleetInstances": "an instance of an EC2 Fleet is no longer shown",
    "ec2:DescribeImages": "a roll-out of an image begins",
    "ec2:DescribeLaunchTemplateVersions": "a launch template has no overrides",
    "ec2:DescribeSpotFleetInstances": "an instance of a Spot Fleet is no longer shown",
    "ec2:DescribeSpotFleetRequestHistory": "a Spot Fleet is short of capacity for minutes",
    "ec2:DescribeSubnets": "an override names no zone",
    "ec2:ModifyFleet": "the target of an EC2 Fleet changes",
    "ec2:TerminateInstances": "an instance is given back",
    "sqs:DeleteMessage": "a notice was in the queue",
}
# Nobody needs a right for it.
FREE = {"sts:GetCallerIdentity"}
PATIENCE_SECONDS = 90

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
"""
POLICY = """
fleet "web" {
  id = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
  interruption { poll = "10s" }
}
fleet "batch" {
  id = "fleet-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
  interruption { poll = "10s" }
}
"""


def granted(*groups):
    """What groups of actions.json allow: action -> why."""
    return {one["action"]: one["why"] for group in groups for one in ACTIONS[group]}


def differ(what, have, want):
    """What is wrong, in words; nothing where the two are alike."""
    words = [f"{what}: {action} is granted, and nothing calls it" for action in sorted(have - want)]
    return words + [f"{what}: {action} is called, and not granted" for action in sorted(want - have)]


def declared(heading):
    """A table of fleet/aws/README.md: action -> why."""
    table = (ROOT / "fleet/aws/README.md").read_text().split(f"| Permission | {heading} | What for |")[1].split("\n\n")[0]
    return dict(re.findall(r"^\| `([\w:-]+)` \| `\w+` \| (.+) \|$", table, re.M))


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


def seen_by_the_loopback_cloud(autoscaler):
    """The autoscaler's calls, once those of SOON are among them."""
    services = {name.split(":")[1]: name for name in declared("Used by")}
    services["DeleteMessageBatch"] = "sqs:DeleteMessage"
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "world.hcl").write_text(expanded(WORLD))
        (place / "policy.hcl").write_text(expanded(POLICY))
        running = []
        try:
            cloud = [autoscaler, "cloud", "--port", "0", "--world", place / "world.hcl", "--history", "1h"]
            running.append(subprocess.Popen(cloud, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
            environment = dict(re.findall(r"(\w+)=(\S+)", running[0].stdout.readline()))
            url = environment["AWS_ENDPOINT_URL"]
            hold = [autoscaler, "run", "--policy", place / "policy.hcl", "--state", place / "state", "--listen", "127.0.0.1:0",
                    "--region", environment["AWS_REGION"], "--own-instance", "i-0",
                    "--queue-url", f"{url}/123456789012/muster-events"]
            environment["AWS_EC2_METADATA_DISABLED"] = "true"
            running.append(subprocess.Popen(hold, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
            deadline = time.monotonic() + PATIENCE_SECONDS
            seen = set()
            while not SOON <= seen:
                if running[1].poll() is not None:
                    raise SystemExit(f"the autoscaler ended: {running[1].stderr.read()}")
                if time.monotonic() > deadline:
                    raise SystemExit(f"within {PATIENCE_SECONDS} s nobody called {sorted(SOON - seen)}")
                time.sleep(0.5)
                with urllib.request.urlopen(f"{url}/_muster/calls", timeout=10) as answer:
                    callers = json.load(answer)
                # Whoever the loopback cloud does not know the action of is told by its bare name.
                seen = {services.get(name, name) for calls in callers.values() for name in calls}
            return seen
        finally:
            for process in reversed(running):
                process.kill()
                process.wait()


def expanded(text):
    """One attribute a line, as these files are written: `a { b = 1 }` is three."""
    return re.sub(r"\{ (\w+ = [^}]+?) \}", r"{\n    \1\n  }", text)


def main(autoscaler):
    wrong = []
    known = declared("Used by")
    # What EC2 asks for by itself in a roll-out is no call of anybody's.
    rollout = {action: why for action, why in granted("autoscaler_rollout").items() if action in known}
    own = granted("autoscaler") | rollout
    image = declared("Command")
    for who, has, table in [("the autoscaler", own, known), ("muster-image", granted("image_publisher"), image)]:
        wrong += differ(who, set(has) - ASIDE, set(table))
        wrong += [f"{who}: the reason of {action} is not that of fleet/aws" for action in sorted(set(has) & set(table))
                  if has[action] != table[action]]
    agent = called_by_the_agent()
    wrong += differ("the nodes", set(granted("node")) - ASIDE, agent)
    seen = seen_by_the_loopback_cloud(autoscaler)
    wrong += [f"the autoscaler: the loopback cloud saw {action}, which is not granted" for action in sorted(seen - set(own))]
    wrong += [f"the autoscaler: {action} is granted, the loopback cloud did not see it, and nobody says when it is called"
              for action in sorted(set(own) - ASIDE - seen - set(LATER))]
    wrong += [f"the autoscaler: {action} is said to be called later, and is not granted" for action in sorted(set(LATER) - set(own))]
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"IAM: the autoscaler has the {len(known)} actions of its table, {len(seen)} of them were seen by the loopback "
          f"cloud; muster-image has the {len(image)} of its own; nodes have the {len(agent)} that the agent sends; none is granted that nothing calls")


if __name__ == "__main__":
    main(*sys.argv[1:])
