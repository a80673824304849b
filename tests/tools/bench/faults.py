"""Rows about notices, drains, leaders and faults."""

import json
import re
import resource
import subprocess

from .harness import ROOT, build, figure, programs, row, run, say


def figures_of(what):
    return json.loads(run([build("-p", "muster-worlds", "--examples") / "examples/figures", what]))


@row
def worlds():
    """Two hours each of two autoscalers, Consul, Nomad and EC2 in virtual time, with all faults by chance: 2,000 seeds."""
    seeds, goal = 2000, 10_000
    # Ends with 1 where a world fails: that is a figure, too.
    program = build("-p", "muster-worlds", profile="worlds") / "muster-worlds"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([program, "--seeds", f"0..{seeds}", "--no-shrink"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    each = (resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before) * 1000 / seeds
    last = done.stdout.strip().splitlines()[-1]
    say(f"  {last}")
    count, seconds, failed = re.match(r"(\d+) worlds in ([\d.]+) s .*?(\d+) failed", last).groups()
    minutes = float(seconds) * goal / int(count) / 60
    return [
        figure(f"seeded worlds, {int(count):,} of them: with an invariant broken", "0", failed, failed == "0"),
        figure(f"seeded worlds: {goal:,} of them take", "<= 2 min", f"{minutes:.1f} min, by {seconds} s for {int(count):,}; {each:.0f} ms of a processor each", minutes <= 2),
    ], {}


@row
def interruptions():
    """A thousand interruptions in bursts of ten within a minute, messages three times each, the leader killed in each fifth burst."""
    figures = []
    for one in figures_of("interruptions"):
        lost, bought, count = one["allocations_lost"], one["bought"], one["interrupted"]
        where = "at the marking" if one["replaced"] == "AtMarking" else "at the death"
        if one["replaced"] == "AtMarking":
            where += ", as the policy says" if one["said"] == "AtMarking" else ", of which nothing is known at first"
        figures.append(figure(
            f"{count:,} interruptions, fleets that buy {where}: drained in time; bought", f"{count:,}; {count:,}",
            f"{count if lost == 0 else f'{lost} allocations lost'}; {bought:,}", lost == 0 and bought == count))
    return figures, {}


@row
def dip():
    """Twenty interruptions of a fleet of six, boot 90 s, looked at each second."""
    found = figures_of("dip")
    below = sum(one["seconds_below"] for one in found)
    return [figure("capacity dip of an interruption, boot 90 s", "0 s", f"{below} s in {sum(one['interruptions'] for one in found)}", below == 0)], {}


@row
def throttling():
    """Four days of a load that swings, with and without 30 % of all calls throttled."""
    calm, throttled = (one["seconds_above_80"] / one["seconds"] for one in figures_of("throttling"))
    ratio = throttled / calm
    return [figure("30 % of the calls throttled: time above 80 %, over that without", "<= 1.1",
                   f"{ratio:.2f} ({throttled:.2%}, {calm:.2%})", ratio <= 1.1)], {}


def told_by(test):
    """What a test says of its figures. Its own set-up is needed (`tests/run setup`)."""
    return run(["cargo", "test", "--quiet", "--workspace", "--locked", "--test", test, "--", "--nocapture", "--test-threads", "1"])


@row
def leaders():
    """Two processes on real Consul: the leader is killed, and frozen."""
    text, figures = told_by("leaders"), []
    for how, what in (("killed", "SIGKILL"), ("frozen", "SIGSTOP")):
        took = float(re.search(rf"{how}: the other wrote after ([\d.]+) s", text)[1])
        figures.append(figure(f"leader gone ({what}): the next one acts", "<= 15 s", f"{took:.1f} s", took <= 15))
    return figures, {}


@row
def seen():
    """Sixty interruptions that a real agent on each instance reads from the metadata service, one at a time, six to a process:
    real Nomad. Each lasts until the later of two: the agent has the leader's confirmation, the node is ineligible."""
    found = json.loads(run([programs() / "examples/notices", "--agents", "1"]))["agent"]
    times = found["confirmed"]
    return [figure(f"notice visible in the metadata service until confirmed and the node ineligible in real Nomad, {found['count']} of them",
                   "p99 <= 1.5 s", f"p50 {times['p50'] * 1000:.0f} ms, p99 {times['p99'] * 1000:.0f} ms", times["p99"] <= 1.5)], {}


@row
def notices():
    """Sixty interruptions over the queue and sixty by `POST /v1/notices`, one at a time, six to a process (its writes in a minute): real Nomad."""
    found, figures = json.loads(run([programs() / "examples/notices"])), []
    for way, how, within in (("queue", "in the queue", 1), ("push", "by the agent's push", 0.3)):
        one = found[way]
        # Of fewer than a hundred the 99th percentile is the worst.
        for what, goal, until in (("ineligible", within, "the node is ineligible in real Nomad"), ("requested", 2, "the replacement is requested")):
            half, most = one[what]["p50"], one[what]["p99"]
            figures.append(figure(f"notice {how} until {until}, {one['count']} of them", f"p99 <= {goal} s",
                                  f"p50 {half * 1000:.0f} ms, p99 {most * 1000:.0f} ms", most <= goal))
    return figures, {}


@row
def queue():
    """Ten thousand messages, of which a hundred are about our instances, over loopback and the AWS SDK."""
    found = json.loads(run([programs() / "examples/queue"]))
    seconds, most = found["seconds"], found["resident_kib"] / 1024
    return [figure("10,000 queue messages, 99 % of them foreign: until the queue is empty; memory", "<= 10 s; <= 40 MB",
                   f"{seconds:.1f} s; {most:.0f} MB", seconds <= 10 and most <= 40)], {}
