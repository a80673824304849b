"""Holds a playbook of AWX's objects against the collections that it calls: awx_objects.py PLAYBOOK.

Each option of a task has to be one of its module's, each literal of the kind and the choice that the module takes, and each option of
the inventory's plugin one of the plugin's. What a node's callback needs has to be there: see `needs`. Says what is wrong, a line each,
and exits with 1.
"""

import functools
import json
import os
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


def needs(tasks, repository):
    """What is missing of project, inventory, templates and schedule, and of what makes a callback find its node."""
    objects = {}
    for task in tasks:
        for module in (name for name in task if name.startswith("awx.awx.")):
            objects.setdefault(module.removeprefix("awx.awx."), []).append(task[module])
            if task[module].get("state") != "present":
                yield f"{task['name']}: what is to be there is not said to be present, so a second run could do it again"
    kinds = ("project", "inventory", "inventory_source", "job_template", "schedule")
    if missing := [kind for kind in kinds if not objects.get(kind)]:
        yield f"there is no {', '.join(missing)}"
        return
    names = {kind: {one["name"] for one in objects[kind]} for kind in kinds}
    for source in objects["inventory_source"]:
        given = source.get("source_vars", {})
        if source.get("source") != "ec2" or given.get("plugin") != "amazon.aws.aws_ec2":
            yield f"{source['name']}: it is not filled from EC2"
        # A callback is matched by the address that it comes from.
        if given.get("compose", {}).get("ansible_host") != "private_ip_address":
            yield f"{source['name']}: ansible_host is not the private address"
        if source.get("inventory") not in names["inventory"] or not source.get("update_on_launch"):
            yield f"{source['name']}: it does not fill the inventory when a node calls"
    for template in objects["job_template"]:
        if template.get("project") not in names["project"] or template.get("inventory") not in names["inventory"]:
            yield f"{template['name']}: its project or inventory is not made here"
        if not os.path.isfile(os.path.join(repository, template.get("playbook", ""))):
            yield f"{template['name']}: there is no playbook {template.get('playbook')}"
    called = [one for one in objects["job_template"] if one.get("host_config_key")]
    if len(called) != 1:
        yield f"{len(called)} templates take callbacks, in place of one"
    for template in called:
        for option in ("ask_variables_on_launch", "ask_limit_on_launch", "allow_simultaneous", "become_enabled"):
            if template.get(option) is not True:
                yield f"{template['name']}: a callback needs {option}"
        if template.get("job_type") != "run":
            yield f"{template['name']}: it mends nothing"
    for schedule in objects["schedule"]:
        if schedule.get("unified_job_template") not in names["job_template"] or "FREQ=" not in schedule.get("rrule", ""):
            yield f"{schedule['name']}: it runs nothing of these, or never"


def problems(playbook):
    with open(playbook, encoding="utf-8") as file:
        plays = yaml.safe_load(file)
    checked = 0
    tasks = [task for play in plays for task in play["tasks"]]
    # image/ansible/awx/objects.yml is three folders deep.
    yield from needs(tasks, os.path.join(os.path.dirname(os.path.abspath(playbook)), "..", "..", ".."))
    for task in tasks:
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
