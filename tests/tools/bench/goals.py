"""Rows about goals that one program measures (`autoscaler/lab/examples/goals`), and about how fast the lab is."""

import statistics

from .harness import asked, figure, goal, goal_and_memory, muster, programs, recording, recordings, row, spent, trace

# Regions that were recorded in three zones at least, and what is played of them.
REGIONS = {
    "us-west-2, February 2023": "availability/1-node/aws-02-15-2023/us-west-2*_v100_1.json.gz",
    "us-east-1, April 2023": "preemption/1-node/aws-04-19-2023/us-east-1*_intel_64.json.gz",
}


def weeks():
    """Four weeks of office hours. * returns: the file."""
    return trace("weeks", [(minute * 60, 6 + 4 * ((minute // 60) % 24 in range(8, 20)) + (minute * 7919 % 13) / 10)
                           for minute in range(28 * 1440 + 1)])


@row
def shell():
    """A backtest of four weeks with its table, from the shell: process, file, four policies, scores."""
    path = weeks()
    took = []
    for _ in range(7):
        passed, _ = spent([programs() / "muster-autoscaler", "backtest", "--trace", path])
        took.append(1000 * passed)
    median = statistics.median(took)
    measured = f"{median:.0f} ms in the median of {len(took)} ({min(took):.0f} to {max(took):.0f})"
    return [figure("backtest of 28 days with its table, from the shell", "<= 200 ms", measured, median <= 200)], {}


@row
def sweep():
    """A thousand policies over four weeks: every size of them that `tune` turns, and two promises, on all cores."""
    found, memory = goal_and_memory("policies", weeks())
    one = found[0]
    seconds, rate = one["seconds"], one["policies"] * one["days"] / one["seconds"]
    name = f"{one['policies']:,} policies x {one['days']} days on {one['threads']} cores"
    measured = f"{seconds:.1f} s ({rate:,.0f} days/s)"
    figures = [figure(name, "<= 30 s (moonshot 5)", measured, seconds <= 30),
               figure("the same: most memory", "<= 150 MB", f"{memory:.0f} MB", memory <= 150)]
    return figures, {}


@row
def optimum():
    """The clairvoyant optimum of each recording, for four weeks of it."""
    took = [one["ms_for_28_days"] for one in goal("optimum", *recordings())]
    measured = f"{max(took):.2f} ms on the slowest of {len(took)} ({min(took):.2f} on the quickest)"
    return [figure("oracle for 28 days", "<= 5 ms", measured, max(took) <= 5)], {}


@row
def threads():
    """Every runner in every world on one thread and on five: the same bytes."""
    traces = [path for path in recordings()][:3]
    same = True
    for more in ([], ["--noise", "5%"], ["--interruptions", "stress", "--stochastic", "--seed", "7"]):
        once, again, five = (
            muster("backtest", "--trace", *traces, "--runner", "all", "--format", "json", "--jobs", jobs, *more)
            for jobs in ("1", "1", "5")
        )
        same = same and once == again == five
    what = "backtests on 1 and 5 threads, and from run to run: bytes"
    return [figure(what, "identical", "identical" if same else "different", same)], {}


@row
def rest():
    """Loads of eight sizes that stay where they are, for a day after two hours of settling."""
    figures = []
    for one in goal("rest"):
        share, slow, actions = one["share"], one["wander"], one["actions"]
        most = 0 if share < 0.1 else 2
        how = "wandering within it in rounds of three hours" if slow else "anew every ten seconds"
        mean = sum(actions) / len(actions)
        figures.append(figure(
            f"load within {share:.0%} to either side, {how}, {one['metric']}: actions in 24 h",
            f"{most}" if most == 0 else f"<= {most}",
            f"{max(actions)} at most, {mean:.1f} in the mean of {len(actions)} loads", max(actions) <= most,
        ))
    return figures, {}


@row
def steps():
    """Four-fold steps within a minute or two: `flash`."""
    path = recording("flash")
    figures = []
    for one in goal("steps", path):
        goal_minutes, floor = (3.0, 2.2) if one["metric"] == "push" else (4.0, 3.0)
        minutes, first = one["minutes"], min(one["first_action"])
        figures.append(figure(f"4x step, {one['metric']}: minutes above 80 % a step", f"<= {goal_minutes} (floor {floor})",
                              f"{minutes:.1f} in the mean of {one['rises']}", minutes <= goal_minutes + 1e-9))
        figures.append(figure(f"4x step, {one['metric']}: the first action's share of the need", ">= 95 %",
                              f"{first:.0%} at least", first >= 0.95))
    return figures, {}


@row
def promise():
    """Breach by the week, at three objectives, with and without noise; the floor is what delay costs who forecasts nothing."""
    found, figures, rows = goal("weeks", *recordings()), [], []
    for objective in (0.05, 0.01, 0.001):
        for noise in (0.0, 0.05):
            cases = [one for one in found if (one["objective"], one["noise"]) == (objective, noise)]
            key = "kept" if objective > 0.001 else "kept_or_floor"
            weeks, kept = sum(one["weeks"] for one in cases), sum(one[key] for one in cases)
            plain = sum(one["kept"] for one in cases)
            broken = [f"{one['trace']} {one['worst']:.2%}" for one in cases if one[key] < one["weeks"]]
            measured = f"{kept} of {weeks} weeks" + (f"; worst week of those broken: {', '.join(broken)}" if broken else "")
            if key == "kept_or_floor":
                measured += f" ({plain} without the floor)"
            where = "" if key == "kept" else ", where the delay floor allows"
            figures.append(figure(
                f"weeks with at most {objective:.1%} above 80 %{where}" + (", --noise 5%" if noise else ""), "all",
                measured, kept == weeks))
    rows = ["| trace | objective | noise | cost | breach80 | weeks | kept | worst week | its delay floor at most |",
            "|---|---|---|---|---|---|---|---|---|"]
    rows += [f"| {one['trace']} | {one['objective']:.1%} | {one['noise']:.0%} | {one['cost_ratio']:.3f} "
             f"| {one['breach80_ratio']:.3%} | {one['weeks']} | {one['kept']} | {one['worst']:.3%} | {one['worst_floor']:.3%} |"
             for one in found]
    return figures, {"promise": rows}


@row
def shuffles():
    """Ours against aws-tt on 1,000 day-shuffles of each recording: minutes for each."""
    found = goal("shuffles", "--count", "1000", *recordings())
    total = sum(one["found"]["shuffles"] for one in found)
    worse = sum(one["found"]["worse_in_both"] for one in found)
    broken = {one["trace"]: one["found"]["contract_broken"] for one in found if one["found"]["contract_broken"]}
    figures = [
        figure("day-shuffles on which ours is worse than aws-tt in both cost and breach", "0",
               f"{worse} of {total:,}", worse == 0),
        figure("day-shuffles on which the contract is broken", "",
               f"{sum(broken.values())} of {total:,}" + "".join(f"; {name} {n}" for name, n in broken.items()), not broken),
    ]
    return figures, {}


@row
def stress():
    """Pools that run dry, 3 zones x 4 types: made up from three seeds, and with --spot as recorded in two regions."""
    worlds = {"made up": []}
    for region, pattern in REGIONS.items() if asked.spot else ():
        files = sorted(asked.spot.glob(pattern))
        if len(files) < 3:
            raise SystemExit(f"tests/bench: {asked.spot} has no three recordings {pattern}")
        worlds[region] = [part for file in files for part in ("--spot", file)]
    figures, rows = [], []
    for world, spot in worlds.items():
        found = goal("stress", *spot, *recordings())
        lows = [one["stressed"]["lowest_serving_ratio"] for one in found]
        could = [one["stressed"]["lowest_possible_ratio"] for one in found]
        below = [one["stressed"]["serving_below_60_ratio"] for one in found]
        unavoidable = [one["stressed"]["possible_below_60_ratio"] for one in found]
        figures.append(figure(
            f"stress, {world}: least share of capacity that serves, of {len(found)} runs", ">= 60 % at all times",
            f"{min(lows):.0%} to {max(lows):.0%} ({min(could):.0%} to {max(could):.0%} for a clairvoyant); below 60 % for "
            f"{max(below):.2%} of the time at most ({max(unavoidable):.2%} for a clairvoyant)", min(lows) >= 0.6))
        ratios = {}
        for one in found:
            calm, stressed = one["calm"]["breach80_ratio"], one["stressed"]["breach80_ratio"]
            ratio = stressed / calm if calm else float(stressed > 0) and float("inf")
            ratios[f"{one['trace']}, seed {one['seed']}"] = ratio
            s = one["stressed"]
            rows.append(f"| {world} | {one['trace']} | {one['seed']} | {s['interruptions']} | {s['drained_in_time_ratio'] or 0:.0%} "
                        f"| {s['lowest_serving_ratio']:.0%} | {s['lowest_possible_ratio']:.0%} | {s['serving_below_60_ratio']:.2%} "
                        f"| {s['possible_below_60_ratio']:.2%} | {calm:.2%} | {stressed:.2%} | {ratio:.2f} |")
        over = sum(ratio > 1.5 for ratio in ratios.values())
        worst = max(ratios, key=ratios.get)
        figures.append(figure(f"stress, {world}: breach over that without interruptions", "<= 1.5",
                              f"{ratios[worst]:.2f} at most ({worst}); above 1.5 in {over} of {len(ratios)} runs", not over))
    head = ["| world | trace | seed | interruptions | drained in time | least that serves | a clairvoyant's | time below 60 % "
            "| a clairvoyant's | breach80, calm | stressed | ratio |", "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    return figures, {"stress": head + rows}
