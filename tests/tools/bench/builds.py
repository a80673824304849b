"""Rows about what is built, and how fast its innermost parts are."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from .harness import ROOT, TARGET, WORK, build, figure, row, run, spent


@row
def plan():
    """`plan` for a fleet of twenty with 14 days behind it."""
    directory = build("-p", "autoscaler-core", "--example", "plan_bench")
    took = json.loads(run([directory / "examples/plan_bench"]))
    measured = f"{took['p99_us']:.0f} us (median {took['median_us']:.0f}, longest {took['longest_us']:.0f})"
    return [figure("plan for one fleet of 20: p99", "<= 200 us", measured, took["p99_us"] <= 200)], {}


@row
def core():
    """The tests of the core after it was touched, with everything else built."""
    command = ["cargo", "test", "-p", "autoscaler-core", "--quiet", "--locked"]
    run(command)
    os.utime(ROOT / "autoscaler/core/src/lib.rs")
    passed, processors = spent(command)
    measured = f"{passed:.1f} s ({processors:.1f} s of processors)"
    return [figure("`cargo test -p autoscaler-core` after touching it, warm", "<= 20 s", measured, passed <= 20)], {}


@row
def first():
    """README's first command into an empty target directory; downloads are not in it."""
    run(["cargo", "fetch", "--quiet", "--locked"])
    with tempfile.TemporaryDirectory(dir=WORK) as empty:
        # Where nothing has been built yet the other rows go on from what this one builds.
        empty = empty if (TARGET / "release").exists() else str(TARGET)
        environment = {**os.environ, "CARGO_TARGET_DIR": empty}
        passed, processors = spent(["cargo", "build", "--release", "--quiet", "--locked"], env=environment)
        begun = time.monotonic()
        subprocess.run([Path(empty, "release/muster-autoscaler"), "demo", "--for", "1m", "--speed", "max"],
                       check=True, stdout=subprocess.DEVNULL)
        moves = time.monotonic() - begun
    minutes = (passed + moves) / 60
    measured = f"{minutes:.1f} min ({processors / 60:.1f} min of processors)"
    return [figure("README's first command from empty caches until the demo moves", "<= 10 min on 2 cores", measured, minutes <= 10)], {}


@row
def size():
    """The program as it is shipped."""
    run(["cargo", "build", "--profile", "dist", "--quiet", "--locked", "-p", "muster-autoscaler"])
    size = (TARGET / "dist/muster-autoscaler").stat().st_size / 1e6
    return [figure("shipped program (`dist`, stripped)", "<= 20 MB", f"{size:.1f} MB", size <= 20)], {}


@row
def drive():
    """The external drive: observations of some 14 instances a line, one core."""
    directory = build("-p", "autoscaler-lab", "--examples")
    rate = json.loads(run([directory / "examples/decide_rate"]))["lines_per_second"]
    return [figure("`decide`: lines a second", ">= 20,000", f"{rate:,.0f}", rate >= 20_000)], {}
