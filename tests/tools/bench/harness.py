"""What all rows share: where things are, what is built and run, and the register of rows.

A row is a function whose docstring says what it does, in one of the modules that `tests/bench` imports:

    @row
    def name():
        "What is measured, in a sentence."
        return [figure("what", "goal", "measured", met)], {}

The second part is kept in results.json beside the figures, for tables of the page (`TABLES` in page.py).
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs/benchmarks.md"
SAMPLES = ROOT / "autoscaler/samples"
ROWS = {}
# Rows that take minutes each, or build everything anew.
LONG = ("first", "size", "shuffles", "image", "platform")


class asked:
    """What the command line named."""

    # Recordings to backtest on.
    traces = SAMPLES
    # Recordings of spot pools, `availability/**` and `preemption/**`; `None`: those that are made up alone.
    spot = None


def row(function):
    """Registers a row by the name of its function."""
    ROWS[function.__name__] = function
    return function


def figure(what, goal, measured, met):
    return {"what": what, "goal": goal, "measured": measured, "met": bool(met)}


def describe(name):
    return " ".join(ROWS[name].__doc__.split())


# Building and running


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, **more):
    """Runs a command to its end and gives back what it printed; says what it was when it fails."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        raise SystemExit(f"tests/bench: {' '.join(map(str, command))} ended with {done.returncode}")
    return done.stdout


def target_directory():
    text = run(["cargo", "metadata", "--no-deps", "--format-version", "1"])
    return Path(json.loads(text)["target_directory"])


TARGET = target_directory()
WORK = TARGET / "bench"
built = set()


def build(*what, profile="release"):
    if (what, profile) not in built:
        run(["cargo", "build", "--profile", profile, "--quiet", "--locked", *what])
        built.add((what, profile))
    return TARGET / profile


def programs():
    """The directory of the program and of the example that the rows run: built together, so that they share."""
    packages = ("-p", "muster-autoscaler", "-p", "muster-bootstrap", "-p", "tests")
    return build(*packages, "--bin", "muster-autoscaler", "--bin", "muster-bootstrap", "--example", "stepped", "--example", "queue", "--example", "notices")


def muster(*arguments):
    return run([programs() / "muster-autoscaler", *arguments])


def day(trace, *arguments):
    return muster("demo", "--trace", trace, "--speed", "max", *arguments)


def spent(command, **more):
    """Runs a command. * returns: (seconds that passed, seconds of processors)."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run(command, **more)
    passed, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def trace(name, points):
    path = WORK / f"{name}.csv"
    path.write_text("seconds,demand\n" + "".join(f"{at:.3f},{demand:.5f}\n" for at, demand in points))
    return path


def stepped(*arguments):
    return json.loads(run([programs() / "examples/stepped", *arguments]))


def recordings():
    """The recordings that are backtested on."""
    return sorted(asked.traces.glob("*.csv.gz"))


def recording(name):
    """The recording whose name begins like this."""
    return next(path for path in recordings() if path.name.startswith(name))


def goals():
    """The program that plays what rows about goals need, and prints one JSON document."""
    return build("-p", "autoscaler-lab", "--examples") / "examples/goals"


def goal(what, *arguments):
    return json.loads(run([goals(), what, *arguments]))


def goal_and_memory(what, *arguments):
    """* returns: what it found, and the most memory that it had, in MB."""
    process = subprocess.Popen([goals(), what, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"tests/bench: goals {what} ended with {process.returncode}")
    return json.loads(text), used.ru_maxrss / 1024
