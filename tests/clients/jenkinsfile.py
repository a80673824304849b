"""Reads a declarative Jenkinsfile and prints what it is as JSON: jenkinsfile.py FILE.

The file is parsed by a grammar of Groovy; what declarative pipelines may hold is checked against the tables below, which are of
https://www.jenkins.io/doc/book/pipeline/syntax/. What is wrong is told on standard error, each with its line; then it exits
with 65. Printed are the environment, the options, the stages with their steps, and the steps of `post`, in their order:

    {"environment": {"NAME": "value"}, "parameters": ["FLEET"], "options": ["timestamps"], "minutes": 240, "stages": [{"name": "Lint",
     "timeout": true, "minutes": 20, "when": false, "input": false, "lock": false, "sh": ["image/jenkins/lint"]}], "post": {"always": ["..."]}}

`minutes` is the time of `timeout`; null without it.
"""

import json
import sys

import tree_sitter
import tree_sitter_groovy

TOP = {"agent", "environment", "libraries", "options", "parameters", "post", "stages", "tools", "triggers"}
REQUIRED = {"agent", "stages"}
OF_STAGE = {"agent", "environment", "input", "options", "post", "steps", "tools", "when"}
OPTIONS = {"buildDiscarder", "disableConcurrentBuilds", "lock", "retry", "skipDefaultCheckout", "skipStagesAfterUnstable",
           "timeout", "timestamps"}
POST = {"aborted", "always", "changed", "cleanup", "failure", "fixed", "regression", "success", "unstable", "unsuccessful"}
STEPS = {"archiveArtifacts", "echo", "junit", "sh"}
WHEN = {"allOf", "anyOf", "branch", "changeRequest", "changeset", "expression", "not"}
# Else a stage asks, and takes its locks, before it is known whether it is to run at all.
BEFORE = {"beforeAgent", "beforeInput", "beforeOptions"}
MINUTES = {"MINUTES": 1, "HOURS": 60, "DAYS": 1440}
PARAMETERS = {"booleanParam", "choice", "password", "string", "text"}

wrong = []


def fault(node, words):
    wrong.append(f"line {node.start_point[0] + 1}: {words}")


def text(node):
    return node.text.decode()


def value(node):
    """A literal, as Jenkins would have it; what is interpolated stays as it is written."""
    raw = text(node)
    for quote in ("'''", '"""', "'", '"'):
        if raw.startswith(quote) and raw.endswith(quote):
            return raw[len(quote):-len(quote)].replace("\\'", "'").replace('\\"', '"').replace("\\\\", "\\")
    return raw


def calls(closure):
    """The calls within a closure: name, arguments, closure."""
    found = []
    for child in closure.named_children:
        if child.type in ("line_comment", "block_comment"):
            continue
        node = child
        while node.type == "expression_statement" and node.named_child_count == 1:
            node = node.named_children[0]
        if node.type == "local_variable_declaration" and text(node).split() in (["agent", "any"], ["agent", "none"]):
            # To the grammar these two words are a type and a name.
            yield node, "agent", [], None
            continue
        if node.type not in ("method_invocation", "juxt_function_call", "function_call"):
            yield node, None, [], None
            continue
        name = text(node.named_children[0])
        arguments, inner = [], None
        for part in node.named_children[1:]:
            if part.type == "closure":
                inner = part
            elif part.type == "argument_list":
                arguments += [one for one in part.named_children if one.type != "closure"]
                inner = next((one for one in part.named_children if one.type == "closure"), inner)
            else:
                arguments.append(part)
        yield node, name, arguments, inner
    return found


def steps(closure, where):
    commands = []
    for node, name, arguments, _ in calls(closure):
        if name not in STEPS:
            fault(node, f"{name or node.type} is no step that is known, in {where}")
        elif name == "sh":
            if len(arguments) != 1 or "\n" in value(arguments[0]):
                fault(node, f"a step is one command in one line, in {where}")
            elif text(arguments[0]).startswith('"'):
                fault(node, f"Groovy would fill in what the shell is to, in {where}: use '...'")
            else:
                commands.append(value(arguments[0]))
    return commands


def stage(node, arguments, closure):
    name = value(arguments[0]) if arguments else ""
    told = {"name": name, "timeout": False, "minutes": None, "when": False, "input": False, "lock": False, "sh": []}
    if not name or closure is None:
        fault(node, "a stage has a name and a body")
        return told
    seen, before = set(), set()
    for inner, word, given, body in calls(closure):
        if word not in OF_STAGE:
            fault(inner, f"{word or inner.type} has no place in the stage {name}")
            continue
        if word in seen:
            fault(inner, f"{word} is there twice in the stage {name}")
        seen.add(word)
        if word == "steps":
            told["sh"] = steps(body, f"the stage {name}")
        elif word == "options":
            given, told["minutes"] = options(body, f"the stage {name}")
            told["timeout"], told["lock"] = "timeout" in given, "lock" in given
        elif word == "when":
            told["when"] = True
            for condition, kind, given, _ in calls(body):
                if kind in BEFORE:
                    before |= {kind} if [value(one) for one in given] == ["true"] else set()
                elif kind not in WHEN:
                    fault(condition, f"{kind} is no condition that is known")
        elif word == "input":
            told["input"] = True
    if "steps" not in seen:
        fault(node, f"the stage {name} has no steps")
    for has, needs in [("input", "beforeInput"), ("lock", "beforeOptions")]:
        if told["when"] and told[has] and needs not in before:
            fault(node, f"the stage {name} has {has} before it is known whether it runs: {needs} true")
    return told


def options(closure, where):
    """The names of the options, and the minutes of `timeout`."""
    names, minutes = [], None
    for node, name, given, _ in calls(closure):
        if name not in OPTIONS:
            fault(node, f"{name or node.type} is no option that is known, in {where}")
        names.append(name)
        if name == "timeout":
            parts = {key.strip(): of.strip().strip("'") for key, _, of in (text(one).partition(":") for one in given)}
            if parts.get("time", "").isdigit() and parts.get("unit") in MINUTES:
                minutes = int(parts["time"]) * MINUTES[parts["unit"]]
            else:
                fault(node, f"timeout has a time that is a number, and a unit of {sorted(MINUTES)}, in {where}")
    return names, minutes


def environment(closure):
    told = {}
    for child in closure.named_children:
        node = child.named_children[0] if child.type == "expression_statement" else child
        if node.type in ("line_comment", "block_comment"):
            continue
        if node.type != "assignment_expression":
            fault(node, "the environment is made of NAME = value")
            continue
        told[text(node.named_children[0])] = value(node.named_children[-1])
    return told


def pipeline(closure):
    told = {"environment": {}, "parameters": [], "options": [], "minutes": None, "stages": [], "post": {}}
    seen = set()
    for node, name, _, body in calls(closure):
        if name not in TOP:
            fault(node, f"{name or node.type} has no place in a pipeline")
            continue
        if name in seen:
            fault(node, f"{name} is there twice")
        seen.add(name)
        if name == "environment":
            told["environment"] = environment(body)
        elif name == "options":
            told["options"], told["minutes"] = options(body, "the pipeline")
        elif name == "parameters":
            for inner, kind, given, _ in calls(body):
                if kind not in PARAMETERS:
                    fault(inner, f"{kind} is no parameter that is known")
                names = [text(one).partition(":")[2] for one in given if text(one).startswith("name:")]
                told["parameters"] += [name.strip().strip("'\"") for name in names]
        elif name == "stages":
            for inner, kind, arguments, of_stage in calls(body):
                if kind == "stage":
                    told["stages"].append(stage(inner, arguments, of_stage))
                else:
                    fault(inner, f"{kind or inner.type} is no stage")
        elif name == "post":
            for inner, kind, _, of_post in calls(body):
                if kind not in POST:
                    fault(inner, f"{kind} is no condition of post")
                else:
                    told["post"][kind] = steps(of_post, f"post, {kind}")
    for name in sorted(REQUIRED - seen):
        fault(closure, f"a pipeline has {name}")
    names = [one["name"] for one in told["stages"]]
    for name in sorted({name for name in names if names.count(name) > 1}):
        fault(closure, f"two stages are called {name}")
    return told


def main(path):
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_groovy.language()))
    with open(path, "rb") as file:
        root = parser.parse(file.read()).root_node
    broken = [root]
    while broken:
        node = broken.pop()
        if node.type == "ERROR" or node.is_missing:
            fault(node, f"is no Groovy: {text(node)[:60]!r}")
        broken += [child for child in node.children if child.has_error]
    told = {}
    top = list(calls(root))
    if [name for _, name, _, _ in top] != ["pipeline"]:
        fault(root, "a declarative pipeline is one block `pipeline`")
    else:
        told = pipeline(top[0][3])
    for words in wrong:
        print(f"{path}: {words}", file=sys.stderr)
    print(json.dumps(told))
    sys.exit(65 if wrong else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
