"""Rows about the daemon and the demo."""

import json
import random
import re
import shutil
import statistics
import tempfile
import time

from .harness import SAMPLES, WORK, day, figure, muster, row, say, stepped, trace
from .servers import CLOUDWATCH, account, cloud, daemon, endpoint_of, free_port, wait_for

# What the goals are about; the other samples are played for comparison.
GOAL_TRACES = ("wc98", "wiki", "taxi")


@row
def demo():
    """The first day of each sample, played by the demo: push channel, boot 120 s, two pools that run dry."""
    days, figures = {}, []
    for path in sorted(SAMPLES.glob("*.csv.gz")):
        days[path.name.split(".")[0]] = json.loads(day(path, "--for", "24h", "--format", "json"))
        say(f"  {path.name}: {days[path.name.split('.')[0]]['scores']}")
    for name in GOAL_TRACES:
        above, cost = days[name]["scores"]["breach80_ratio"], days[name]["cost_over_ideal"]
        figures.append(figure(
            f"demo, first 24 h of `{name}`: time above 80 %; cost over the sum of `ceil(demand / 0.75)`",
            "<= 2 %; <= 1.10", f"{above:.2%}; {cost:.3f}", above <= 0.02 and cost <= 1.10,
        ))
    return figures, {"days": days}


@row
def constant():
    """A day of six units, each 10 s somewhere within 5 % of it (seeded)."""
    noise, points = random.Random(1), []
    for step in range(8641):
        demand = 6 * (1 + noise.uniform(-0.05, 0.05))
        points += [(step * 10, demand), (step * 10 + 9.999, demand)]
    played = day(trace("constant", points), "--for", "24h", "--plain")
    at = [int(hours) * 60 + int(minutes) for hours, minutes in decided(played)]
    later = sum(minute >= 120 for minute in at)
    measured = f"{later} after the first two hours; {len(at) - later} in them, all within {max(at, default=0)} min"
    if later:
        measured = f"{later} after the first two hours; {len(at) - later} in them"
    return [figure("constant load +-5 % for 24 h: actions", "0", measured, later == 0)], {}


def decided(played):
    """(hour, minute) of each decision that changed something; what is told twice counts once."""
    lines = re.findall(r"^(\d\d+):(\d\d)  (\d+ → \d+|\d+ set right|trim) ", played, re.MULTILINE)
    return [line[:2] for line in dict.fromkeys(lines)]


@row
def step():
    """Three units for six hours, twelve a minute later, and from then on: by the demo, with a need of 16."""
    played = day(trace("step", [(0, 3), (21600, 3), (21660, 12), (43200, 12)]), "--for", "12h", "--plain")
    above = float(re.search(r"^above 80 %\s+([\d.]+) min", played, re.MULTILINE)[1])
    grown = re.findall(r"^(\d\d):(\d\d)  (\d+) → (\d+) ", played, re.MULTILINE)
    first = next((int(to) for hour, _, was, to in grown if int(hour) >= 6 and int(to) > int(was)), 0)
    return [
        figure("4x step in a minute (push): time above 80 %", "<= 4 min", f"{above:.1f} min", above <= 4),
        figure("the same: the first action's share of the need", ">= 90 %", f"{first / 16:.0%}", first / 16 >= 0.9),
    ], {}


@row
def same():
    """An hour of taxis: twice as fast as the machine can, once at 720 times real time."""
    def play(speed):
        return muster("demo", "--for", "1h", "--speed", speed, "--format", "json")
    runs = [play("max"), play("max"), play("720")]
    measured = "identical" if len(set(runs)) == 1 else "differ"
    return [figure("demo, 1 h, `--speed max` twice and 720: figures", "identical", measured, measured == "identical")], {}


@row
def calls():
    """Steady fleets of four, counted by the loopback cloud over six hours after one of settling."""
    figures = []
    for what, fleets, policy, options, goal in (
        ("one fleet, push", 1, "", ("--push",), 1.5),
        ("one fleet, CloudWatch alone", 1, CLOUDWATCH, (), 1.5),
        ("100 fleets, CloudWatch alone, for each", 100, CLOUDWATCH, (), 0.2),
    ):
        world, policies = account(f"calls-{len(figures)}", fleets, "demand = 3", policy)
        counted = stepped("--world", world, "--policy", policies, "--settle", "1h", "--for", "6h", *options)
        # The goal is about EC2 and CloudWatch; Application Auto Scaling is asked, too, and shown.
        others = counted["calls"].pop("DescribeScalableTargets", 0)
        per = counted["minutes"] * counted["fleets"]
        rate = sum(counted["calls"].values()) / per
        actions = ", ".join(f"{action} {count}" for action, count in sorted(counted["calls"].items()))
        say(f"  {what}: {counted}")
        measured = f"{rate:.3g} ({actions} in {counted['minutes']} min; beside them DescribeScalableTargets {others})"
        figures.append(figure(f"EC2 and CloudWatch calls a minute, steady: {what}", f"<= {goal}", measured, rate <= goal))
    return figures, {}


def fortnight(fleets):
    """A journal with 14 days of history that ends now. * returns: world file, policy file, state directory."""
    hours = range(0, 24 * 15 + 1)
    wave = trace("wave", [(hour * 3600, 2.25 + 0.75 * (1 if hour % 24 in range(8, 20) else -1)) for hour in hours])
    world, policies = account(f"past-{fleets}", fleets, f'trace = "{wave.name}"', CLOUDWATCH)
    state = WORK / f"state-{fleets}"
    shutil.rmtree(state, ignore_errors=True)
    # Five fleets' past is read each cycle of ten seconds.
    settle = f"{5 + fleets // 25}m"
    say(f"  preparing 14 days of {fleets} fleets")
    stepped("--world", world, "--policy", policies, "--state", state, "--history", "14d",
            "--settle", settle, "--for", "5m", "--ends-now")
    return account(f"now-{fleets}", fleets, "demand = 3", CLOUDWATCH) + (state,)


@row
def rss():
    """Resident memory of `run` against a loopback cloud, going on from a journal with 14 days of history."""
    figures = []
    for fleets, goal in ((1, 25), (1000, 80)):
        world, policies, state = fortnight(fleets)
        with cloud(world) as served:
            port = free_port()
            with daemon(policies, state, endpoint_of(served), port) as held:
                wait_for(held, port, "/v1/ready", lambda answer: answer["ready"], 300)
                seen = []
                for _ in range(18):
                    time.sleep(10)
                    held.check()
                    seen.append(held.memory())
        now, most = max(now for now, _ in seen[6:]), seen[-1][1]
        measured = f"{now:.1f} MB (highest since the start: {most:.1f} MB)"
        say(f"  {fleets}: {[round(now, 1) for now, _ in seen]}, {most:.1f}")
        name = "1 fleet" if fleets == 1 else f"{fleets:,} fleets"
        figures.append(figure(f"RSS, steady, 14 days of history: {name}", f"<= {goal} MB", measured, now <= goal))
    return figures, {}


@row
def start():
    """From the start of the process to the first decision that its API shows, asked every millisecond."""
    figures = []
    world, policies = account("start", 1, "demand = 3", CLOUDWATCH)
    with cloud(world) as served:
        endpoint = endpoint_of(served)
        took = []
        for _ in range(15):
            with tempfile.TemporaryDirectory(dir=WORK) as state:
                port = free_port()
                with daemon(policies, state, endpoint, port) as held:
                    path = "/v1/fleets/web0/decisions"
                    took.append(1000 * wait_for(held, port, path, lambda answer: answer["decisions"], 60))
    took.sort()
    median = statistics.median(took)
    say(f"  {[round(ms) for ms in took]}")
    measured = f"{median:.0f} ms in the median of {len(took)} ({took[0]:.0f} to {took[-1]:.0f})"
    figures.append(figure("start to first decision, loopback cloud", "<= 150 ms", measured, median <= 150))
    return figures, {}
