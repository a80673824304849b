"""The row of the platform on one machine."""

import os
import re

from .harness import figure, row, run


@row
def platform():
    """The whole platform on this machine, once around: real machines, servers and programs (docs/platform.md). Needs root."""
    text = run(["tests/platform/run"], env={**os.environ, "MUSTER_PROFILE": "release"})
    of = {what.strip(): value for what, value in re.findall(r"^(\S.*?) {2,}(\S+(?: s)?)$", text, re.MULTILINE)}
    failed, asked = int(of["of them failed"]), int(of["requests"])
    table = text[text.index("\nboot "):].strip().splitlines()
    awx = table[0].split().index("awx")
    boots = [line.split() for line in table[1:]]
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
    ], {}
