#!/usr/bin/env python3
"""Makes of the AWS provider's source one that knows a few services alone, so that it builds in minutes.

    slim.py SOURCE PLACE SERVICE...

SOURCE is the provider's module as the Go module proxy has it, PLACE a directory that does not exist. The services' code is
untouched; what is left out is every other service, and the clients that nobody uses any more.
"""

import re
import shutil
import sys
from pathlib import Path

# Where the provider names all services, and makes the clients of all of them.
PACKAGES = "internal/provider/sdkv2/service_packages_gen.go"
CLIENTS = "internal/conns/awsclient_gen.go"


def code(directory):
    """The Go files of the provider that are built."""
    directory /= "internal"
    return [file for file in directory.rglob("*.go") if not file.name.endswith("_test.go")]


def needed(source, services):
    """The services, and those whose code they use."""
    todo, seen = list(services), set()
    while todo:
        service = todo.pop()
        if service in seen:
            continue
        seen.add(service)
        for file in (source / "internal/service" / service).glob("*.go"):
            if not file.name.endswith("_test.go"):
                todo += re.findall(r'provider-aws/internal/service/(\w+)"', file.read_text())
    return seen


def copy(source, place, services):
    """The source without tests, pages and the other services."""
    others = {entry.name for entry in (source / "internal/service").iterdir() if entry.is_dir()} - services

    def left_out(directory, names):
        kept = Path(directory).relative_to(source).parts
        gone = {name for name in names if name.endswith("_test.go") or name in ("testdata", "test-fixtures")}
        if kept == ("internal", "service"):
            gone |= others
        if kept == ("internal",):
            gone |= {"acctest", "generate"}
        return gone

    for name in ("internal", "names", "version"):
        shutil.copytree(source / name, place / name, ignore=left_out)
    for name in ("main.go", "go.mod", "go.sum"):
        shutil.copy(source / name, place / name)
    for entry in [place, *place.rglob("*")]:
        # The module cache is read-only.
        entry.chmod(entry.stat().st_mode | 0o200)


def narrow_packages(file, services):
    lines = []
    for line in file.read_text().splitlines(keepends=True):
        named = re.search(r'internal/service/(\w+)"', line) or re.match(r"\s+(\w+)\.ServicePackage\(", line)
        if not named or named[1] in services:
            lines.append(line)
    file.write_text("".join(lines))


def narrow_clients(file, place):
    used = set()
    for other in code(place):
        # What sweeps up after the provider's own tests is compiled, and uses no client of its own.
        if other != file and "sweep" not in other.relative_to(place / "internal").parts[:1]:
            used |= set(re.findall(r"\.(\w+Client)\(", other.read_text()))
    head, *methods = re.split(r"(?m)^func ", file.read_text())
    body = "".join("func " + one for one in methods if re.match(r"\(c \*AWSClient\) (\w+)\(", one)[1] in used)
    lines = []
    for line in head.splitlines(keepends=True):
        imported = re.match(r'\s+(?:(\w+) )?"github.com/aws/aws-sdk-go-v2/service/(\w+)"', line)
        if not imported or re.search(rf"\b{imported[1] or imported[2]}\.", body):
            lines.append(line)
    file.write_text("".join(lines) + body)


def main(source, place, *services):
    source, place = Path(source), Path(place)
    wanted = needed(source, services)
    copy(source, place, wanted)
    narrow_packages(place / PACKAGES, set(services))
    narrow_clients(place / CLIENTS, place)


if __name__ == "__main__":
    main(*sys.argv[1:])
