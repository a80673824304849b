"""Holds a playbook of AWX's objects against the collections that it calls: awx_objects.py PLAYBOOK.

Each option of a task has to be one of its module's, each literal of the kind and the choice that the module takes, and each option of
the inventory's plugin one of the plugin's. Says what is wrong, a line each, and exits with 1.
"""

import functools
import json
import subprocess
import sys

import yaml


@functools.cache
def options(kind, name):
    told = subprocess.run(["ansible-doc", "--type", kind, "--json", name], check=True, capture_output=True, text=True)
    return json.loads(told.stdout)[name]["doc"]["options"]


def wrong_with(value, option):
    if isinstance(value, str) and "{{" in value:
        return None
    kinds = {"bool": bool, "int": int, "list": list, "dict": dict, "str": str}
    kind = kinds.get(option.get("type"), object)
    if not isinstance(value, kind):
        return f"is no {option['type']}"
    if option.get("choices") and value not in option["choices"]:
        return f"is none of {option['choices']}"
    return None


def problems_of(where, given, known):
    for name, value in given.items():
        found = next((option for key, option in known.items() if name == key or name in option.get("aliases", [])), None)
        if found is None:
            yield f"{where}: there is no {name}"
        elif wrong := wrong_with(value, found):
            yield f"{where}: {name} {wrong}"
    for name, option in known.items():
        if option.get("required") and name not in given:
            yield f"{where}: {name} is missing"


def problems(playbook):
    with open(playbook, encoding="utf-8") as file:
        plays = yaml.safe_load(file)
    checked = 0
    for task in (task for play in plays for task in play["tasks"]):
        for module in (name for name in task if name.startswith("awx.awx.")):
            checked += 1
            given = task[module]
            yield from problems_of(f"{task['name']}: {module}", given, options("module", module))
            source = dict(given.get("source_vars", {}))
            if source:
                plugin = source.pop("plugin")
                yield from problems_of(f"{task['name']}: {plugin}", source, options("inventory", plugin))
    if checked == 0:
        yield "it makes no objects of AWX"


found = list(problems(sys.argv[1]))
print("\n".join(found))
sys.exit(1 if found else 0)
