"""The page: docs/benchmarks.md, of what was measured."""

import os
import platform
import re
from pathlib import Path

from .harness import ROWS, SAMPLES, asked, describe, run
from .reasons import TRIED


def machine():
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 1024**2
    return (f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), {memory:.0f} GiB, "
            f"{platform.system()}, {run(['rustc', '--version']).strip()}")


def page(results):
    lines = [
        "# Benchmarks",
        "",
        "Made by `tests/bench` (`tests/bench --full` for all of it); a row by itself by the command beside it. Figures",
        "of the demo and of calls are counted in simulated time, however fast the machine is. Times and memory",
        "are this machine's, at the load that the last column names: processes that wanted to run, in the mean of a",
        "minute, when the row had been measured.",
        "",
        f"Machine: {machine()}.",
        "Rows that were renewed on another one name it.",
        "",
        "| what | goal | measured | met | command | when, commit, load |",
        "|---|---|---|---|---|---|",
    ]
    for name in ROWS:
        lines += figures(name, results[name]) if name in results else [
            f"| {describe(name)} | | not measured yet | | `tests/bench {name}` | |"]
    lines += ["", "What each row does:", ""]
    lines += [f"* `{name}`: {describe(name)}" for name in ROWS]
    days = results.get("demo", {}).get("days", {})
    if days:
        lines += days_table(days)
    if "backtests" in results:
        lines += backtests_table(results["backtests"]) + missed_table(results["backtests"])
    for name, *_ in TABLES:
        lines += tables(name, results.get(name, {}))
    return "\n".join(lines) + "\n"


def figures(name, result, on=""):
    """A row's lines of the first table. * on: the machine, where it is not the page's."""
    return [
        f"| {one['what']} | {one['goal']} | {one['measured']} | {'yes' if one['met'] else '**no**'} "
        f"| `tests/bench {name}` | {result['when']}, {result['commit']}, {result['load']:.1f}{on} |"
        for one in result["figures"]
    ]


def tables(name, result):
    """A row's own tables, each with a title."""
    lines = []
    for of, key, options, title, words in TABLES:
        if of == name and key in result:
            lines += ["", f"## {title}", "", f"`tests/bench {name}{options}`: {words}", "", *result[key]]
    return lines


def renewed(text, results):
    """The page with these rows as they were measured now, and all others as they stand in it. * returns: `None` where what these rows
    bring along has its place among what others bring."""
    lines = text.splitlines()
    if results.keys() & ({"demo", "backtests"} | {of for of, *_, options, _, _ in TABLES if options}):
        return None
    on = "" if f"Machine: {machine()}." in lines else f"; {machine()}"
    for name, result in results.items():
        at = [number for number, line in enumerate(lines) if f"| `tests/bench {name}` |" in line]
        if not at:
            return None
        lines[at[0]:at[-1] + 1] = figures(name, result, on)
        for of, key, _, title, _ in TABLES:
            if of == name and f"## {title}" in lines:
                begins = lines.index(f"## {title}") - 1
                ends = next((n for n in range(begins + 2, len(lines)) if lines[n].startswith("## ")), len(lines) + 1) - 1
                del lines[begins:ends]
        lines += tables(name, result)
    return "\n".join(lines) + "\n"


# Tables of rows: the row, its key, options of the command, a title, and what to know.
TABLES = (
    ("rivals", "rivals", " --traces DIR", "The rivals beside an independent simulator",
     "boot 120 s, one-minute metrics. Stated figures are of whole recordings, those\nhere of their first halves, and aws-tt was run "
     "there with a hold on scale-in in place of cooldowns. What is a\nhundredth or more apart has its reason beside it."),
    ("kept_back", "kept_back", " --traces DIR", "Recordings with history",
     "the policy learns from the first 60 % of each recording and is scored on the rest."),
    ("promise", "promise", " --traces DIR", "The promise by the week",
     "weeks from the start of each recording, the last ending with it. The delay floor is the\nbreach of a fleet that holds "
     "what the highest demand of the last six hours needed, as soon as metric and boot allow:\nof whoever forecasts nothing."),
    ("stress", "stress", " --traces DIR", "Under stress",
     "`--spot DIR` for the recorded regions. A clairvoyant has at every moment what any pool could\nhave had serving then."),
    ("platform", "boots", "", "From launch to ready, by step",
     "in seconds, of machines that booted one after the other or two at once on two\ncores; `awx` is the playbook's own time, "
     "`muster` all that the agent took without it."),
)


def days_table(days):
    lines = [
        "",
        "## The demo, day by day",
        "",
        "`muster-autoscaler demo --speed max --format json --for 24h --trace autoscaler/samples/NAME.csv.gz`: the push",
        "channel, boot 120 s, two of four pools dry for four and for three hours. Cost is in unit-hours, over",
        "`ceil(demand / 0.75)` at every step, and over the peak of that all day.",
        "",
        "| trace | above 80 % | saturated | not served | cost over ideal | over static peak | mean utilisation "
        "| actions | given back too early | calls a minute |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, played in days.items():
        scores = played["scores"]
        over_peak = scores["cost_unit_hours"] / scores["static_peak_unit_hours"]
        lines.append(
            f"| `{name}` | {scores['breach80_ratio']:.2%} | {scores['saturated_ratio']:.2%} "
            f"| {scores['unserved_ratio']:.3%} | {played['cost_over_ideal']:.3f} | {over_peak:.2f} "
            f"| {scores['mean_utilization']:.1%} | {scores['actions']} | {scores['flips']} | {played['calls_per_minute']:.2f} |"
        )
    return lines


def backtests_table(result):
    whose = "the samples in `autoscaler/samples`" if asked.traces == SAMPLES else "the first halves of the recordings"
    return [
        "",
        "## Backtests",
        "",
        f"`tests/bench backtests --traces DIR`, here on {result['traces']} traces: {whose}. One-minute metrics, no",
        "interruptions, 1 to 20 units, target 75 %, at most 1 % of the time above 80 %. Cost is over the clairvoyant",
        "optimum's, which never lets utilisation above the target; \"over soft\" is over the cheapest that would have",
        "kept the same contract. Cost is never to be read without what it breaks.",
        "",
        *result["table"],
    ]


def missed_table(result):
    """What the recordings that miss their goal lose, and what was tried. * returns: nothing for none."""
    if not result.get("lost"):
        return []
    tried = [(name, what) for name in ("", *result["missed"]) for what in TRIED.get(name, ())]
    return [
        "",
        "## What is lost where a goal is missed",
        "",
        "`muster-autoscaler oracle --trace FILE --format json`, in percent of the optimum: the parts add up to what is above",
        "it. What was tried against it, and stayed out or is in there:",
        "",
        *(f"* {f'`{name}`' if name else 'all'}: {what}." for name, what in tried),
        "",
        *result["lost"],
    ]
