"""Rows about what policies cost and breach on recordings."""

import json
from pathlib import Path

from .harness import build, figure, goal, muster, recording, recordings, row, run
from .reasons import EXPLAINED, GOAL_COSTS, STATED, STATED_STEPS


@row
def backtests():
    """Every policy on every recording at boots of 60, 120 and 180 s, one-minute metrics, no interruptions."""
    directory = build("-p", "autoscaler-lab", "--examples")
    text = run([directory / "examples/table", *recordings()])
    scores, equal, worse, speeds = [part.strip().splitlines() for part in text.split("\n\n")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in scores[2:]]
    figures, missed = [], []
    for boot, name, runner, _, _, cost, *_, contract in cells:
        if (boot, runner) == ("120", "muster"):
            goal = GOAL_COSTS.get(name)
            met = contract == "kept" and (goal is None or float(cost) <= goal)
            missed += [] if met else [name]
            figures.append(figure(
                f"`{name}`: cost over the oracle's, contract kept", f"<= {goal:.2f}" if goal else "",
                f"{cost}; {contract if contract == 'kept' else 'broken: ' + contract}", met,
            ))
    for line in equal:
        boot, what, rival, ratio = [cell.strip() for cell in line.strip("|").split("|")]
        if boot == "120" and what.startswith("geometric"):
            figures.append(figure(f"cost over {rival}'s at equal breach, {rival} tuned in hindsight, {what}",
                                  "<= 0.80", ratio, float(ratio) <= 0.80))
    worse = [cell.strip() for cell in worse[2].strip("|").split("|")]
    figures.append(figure("worse than aws-tt in both cost and breach, recordings in their own order, boots of 60, 120 and 180 s",
                          "0 cases", f"{worse[0]} of {worse[1]}" + (f": {worse[2]}" if worse[2] else ""), worse[0] == "0"))
    for line in speeds[2:]:
        runner, rate = [cell.strip() for cell in line.strip("|").split("|")]
        goal = 500 if runner == "muster" else 5000
        figures.append(figure(f"simulated days a second on one core: {runner}", f">= {goal}", rate, float(rate) >= goal))
    more = {"table": scores + [""] + equal, "traces": len(recordings()), "missed": missed, "lost": lost(missed)}
    return figures, more


def lost(names):
    """What each of these recordings costs above the optimum is lost to. * returns: rows of a table; none for none."""
    if not names:
        return []
    traces = [recording(name) for name in names]
    split = json.loads(muster("oracle", "--trace", *traces, "--format", "json"))
    parts = ("delay", "rounding", "forecast_error", "hold_down", "interruptions")
    rows = []
    for name, one in zip(names, split):
        ours, optimum = one["splits"][0], one["unit_hours"]
        shares = " | ".join(f"{ours[f'{part}_unit_hours'] / optimum:+.1%}" for part in parts)
        rows.append(f"| {name} | {optimum:.1f} | {ours['regret_unit_hours'] / optimum:+.1%} | {shares} |")
    return ["| trace | optimum, unit-hours | above it | delay | whole instances | forecast error | hold-down | interruptions |",
            "|---|---|---|---|---|---|---|---|", *rows]


@row
def push():
    """The same with samples of ten seconds in place of CloudWatch's minutes."""
    figures = []
    for name in ("elb", "nasa"):
        path = recording(name)
        cost = {
            metric: json.loads(muster("backtest", "--trace", path, "--runner", "muster", "--metric", metric,
                                      "--format", "json"))[0]["cost_ratio"]
            for metric in ("push", "cloudwatch-1m")
        }
        less = 1 - cost["push"] / cost["cloudwatch-1m"]
        figures.append(figure(f"`{name}`: cost with push samples, over that with cloudwatch-1m", ">= 8 % less",
                              f"{less:.1%} less ({cost['push']:.3f}, {cost['cloudwatch-1m']:.3f})", less >= 0.08))
    return figures, {}


@row
def rivals():
    """The rivals beside what an independent simulator found for them, at boot 120."""
    outcomes = json.loads(muster("backtest", "--trace", *recordings(), "--runner", ",".join(STATED), "--format", "json"))
    rows, apart, steps = [], {}, {}
    for one in outcomes:
        name, runner = Path(one["trace"]).name.split(".")[0], one["runner"]
        stated = STATED[runner].get(name)
        if not stated:
            continue
        ours = (one["cost_ratio"], 100 * one["breach80_ratio"], 100 * one["saturated_ratio"])
        off, why = ours[0] - stated[0], ""
        if abs(off) >= 0.01:
            why = EXPLAINED.get((runner, name), "**not explained**")
            apart[f"{runner} on `{name}`"] = (off, (runner, name) in EXPLAINED)
        if name == "flash":
            steps[runner] = one["breach80_ratio"] * one["seconds"]["scored"] / 60
        rows.append(f"| {name} | {runner} | {stated[0]:.2f} | {ours[0]:.3f} | {off:+.3f} | {stated[1]:g} | {ours[1]:.2f} "
                    f"| {stated[2]:g} | {ours[2]:.2f} | {why} |")
    head = ["| trace | rival | cost, stated | here | difference | breach80 %, stated | here | saturated %, stated | here | why |",
            "|---|---|---|---|---|---|---|---|---|---|"]
    measured = ", ".join(f"{where} {off:+.3f}{'' if known else ' (not explained)'}" for where, (off, known) in apart.items())
    figures = [figure("rivals' cost over the oracle's, beside an independent simulator's on the whole recordings: a hundredth or "
                      "more apart", "each explained", measured or "none", all(known for _, known in apart.values()))]
    return figures + ([stepwise(steps)] if steps else []), {"rivals": head + rows}


def stepwise(minutes):
    """Beside what is stated of the four-fold steps of `flash`. * minutes: above 80 % in all, by rival."""
    rises = goal("steps", recording("flash"))[0]["rises"]
    each = {runner: total / rises for runner, total in minutes.items()}
    near = all(abs(each[runner] / stated - 1) < 0.1 for runner, stated in STATED_STEPS.items())
    measured = ", ".join(f"{runner} {each[runner]:.1f} ({stated})" for runner, stated in STATED_STEPS.items())
    return figure("minutes above 80 % that a 4x step costs the rivals, here (and stated)", "within a tenth", measured, near)


@row
def kept_back():
    """Each recording cut in two: 60 % are known, the rest is scored; what nobody chose anything by, as far as we have it."""
    rows, figures, kept, total = [], [], 0, 0
    runs = {share: json.loads(muster("backtest", "--trace", *recordings(), "--history", share, "--format", "json",
                                     "--runner", "muster,aws-tt,nomad-tv,hpa")) for share in ("60%",)}
    for one in runs["60%"]:
        name, ours = Path(one["trace"]).name.split(".")[0], one["runner"] == "muster"
        total, kept = total + ours, kept + (ours and one["contract_kept"])
        soft = one["soft_cost_ratio"]
        rows.append(f"| {name} | {one['runner']} | {one['cost_ratio']:.3f} | {f'{soft:.3f}' if soft else '-'} "
                    f"| {one['breach80_ratio']:.2%} | {one['saturated_ratio']:.2%} | {one['mean_utilization']:.1%} "
                    f"| {one['flips_per_day']:.1f} | {', '.join(one['contract_broken']) or 'kept'} |")
        if ours and name in GOAL_COSTS:
            met = one["contract_kept"] and one["cost_ratio"] <= GOAL_COSTS[name]
            figures.append(figure(f"`{name}`, last 40 % after the first 60 %: cost over the oracle's, contract kept",
                                  f"<= {GOAL_COSTS[name]:.2f}", f"{one['cost_ratio']:.3f}; "
                                  f"{'kept' if one['contract_kept'] else 'broken: ' + ', '.join(one['contract_broken'])}", met))
    figures.append(figure("contract kept on the last 40 % of a recording", f"all {total}", f"{kept}", kept == total))
    head = ["| trace | runner | cost | over soft | breach80 | saturated | util | flips/d | contract |",
            "|---|---|---|---|---|---|---|---|---|"]
    return figures, {"kept_back": head + rows}
