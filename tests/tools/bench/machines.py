"""The rows of the image, and of the platform on one machine."""

import json
import os
import re

from .harness import figure, row, run


@row
def image():
    """The image by its own tests: baked, the same playbook by Packer once more, sealed with eight files planted that must not be
    cloned, and booted under systemd; and the roles of AWS's against what is called. Needs root, and what `tests/run setup` fetches."""
    text = run(["cargo", "test", "--quiet", "--locked", "--workspace", "--test", "image", "--", "--nocapture",
                "a_second_bake", "an_image_boots"])
    found = lambda what: json.loads(re.search(rf"{what}: (\{{.*\}})$", text, re.MULTILINE)[1])
    made, booted = found("an image"), found("a machine")
    size = made["size_bytes"] / 1e9
    # With the features that the test was built with: EC2's crate takes minutes.
    programs = ["muster-autoscaler", "muster-image"]
    run(["cargo", "build", "--quiet", "--locked", "--workspace", *(word for program in programs for word in ("--bin", program))])
    built = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", "target") + "/debug")
    consul = run(["tests/tools/hashicorp", "consul"]).strip() + "/consul"
    # It ends with an error where there is one.
    roles = run(["python3", "tests/tools/terraform.d/iam.py", *(f"{built}/{program}" for program in programs), consul])
    seen, known, published, of, agent, joins = re.search(
        r"were (\d+) of the autoscaler's (\d+) actions and (\d+) of muster-image's (\d+),.* have the (\d+) .* the (\d+) that Consul", roles).groups()
    return [
        figure("image: root file system with Nomad, Consul and Docker", "<= 1 GB", f"{size:.2f} GB", size <= 1),
        figure("image: what the playbook's second run changed", "0", f"{made['changed']}", made["changed"] == 0),
        figure("image: secrets and identities that are left after `seal`, of 8", "0", f"{made['left']}", made["left"] == 0),
        figure("image: units that failed on a machine that boots", "0", f"{booted['failed']}", booted["failed"] == 0),
        figure("roles: actions that no code path uses", "0",
               f"0 of {known} of the autoscaler ({seen} of them seen by the loopback cloud), {of} of muster-image ({published} seen), "
               f"{int(agent) + int(joins)} of nodes", True),
    ], {}


@row
def platform():
    """The whole platform on this machine, once around: real machines, servers and programs (docs/platform.md). Needs root."""
    text = run(["tests/platform/run"], env={**os.environ, "MUSTER_PROFILE": "release"})
    of = {what.strip(): value for what, value in re.findall(r"^(\S.*?) {2,}(\S+(?: s)?)$", text, re.MULTILINE)}
    failed, asked = int(of["of them failed"]), int(of["requests"])
    table = text[text.index("\nboot "):].strip().splitlines()
    awx = table[0].split().index("awx")
    boots = [line.split() for line in table[1:]]
    by_step = ["| " + " | ".join(table[0].split()) + " |", "|---" + "|--:" * len(table[0].split()[1:]) + "|"]
    by_step += ["| " + " | ".join(boot) + " |" for boot in boots]
    # Instance, launch to ready, the agent's own time, then the steps.
    without = [float(boot[1]) - float(boot[awx]) for boot in boots]
    own = [float(boot[2]) for boot in boots]
    took = float(of["from nothing to nothing"].split()[0])
    spread = lambda values: f"{min(values):.1f} to {max(values):.1f} s in {len(values)} boots"
    return [
        figure("platform: requests that failed, of all while machines came, went, were taken and replaced, and the service was updated",
               "0", f"{failed} of {asked:,}", failed == 0),
        figure("platform: launch to ready on a machine that boots, without the playbook's own time", "<= 10 s", spread(without), max(without) <= 10),
        figure("platform: of that the agent's", "<= 1.5 s", spread(own), max(own) <= 1.5),
        figure("platform: all of it, from nothing to nothing", "<= 10 min", f"{took / 60:.1f} min", took <= 600),
    ], {"boots": by_step}
