#!/usr/bin/env python3
"""Reads providers' schemas back out of CDKTF's bindings, which are generated from `terraform providers schema`.

    bindings.py DIRECTORY PROVIDER TYPE...

DIRECTORY is an unpacked binding (its `lib`), TYPE a resource type, `data.` and one, or `provider.` and a setting of the
provider itself. Writes what
`terraform providers schema -json` writes, reduced to these, to standard output.

For providers that cannot be built here. What bindings do not tell is left out: whether an optional attribute
is computed besides, what is sensitive, and descriptions.
"""

import json
import re
import sys
from pathlib import Path

SIMPLE = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
ENTRY = re.compile(
    r"^\s+(\w+): \{\n\s+value: (.*),\n\s+isBlock: (true|false),\n\s+type: \"(\w+)\",\n"
    r"\s+storageClassType: \"(\w+)\",\n\s+\}",
    re.M,
)


def camel(snake):
    head, *tail = snake.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


def type_of(kind, storage):
    """The type of an attribute: `list`, `stringList` -> ["list", "string"]."""
    if kind == "simple":
        return SIMPLE[storage]
    element = re.sub(r"(List|Map|Set)+$", "", storage)
    if storage.endswith("MapList"):
        return [kind, ["map", SIMPLE[element]]]
    return [kind, SIMPLE[element]]


class Binding:
    """One resource or data source: its JavaScript and its TypeScript declarations."""

    def __init__(self, directory):
        self.code = (directory / "index.js").read_text()
        self.declared = (directory / "index.d.ts").read_text()
        self.provider_type = re.search(r'\.tfResourceType = "(\w+)"', self.code)[1]

    def interface(self, name):
        body = re.search(rf"export interface {name}(?: extends [\w.]+)? \{{\n(.*?)\n\}}", self.declared, re.S)
        return dict(re.findall(r"readonly (\w+)(\??):", body[1])) if body else {}

    def class_body(self, name):
        body = re.search(rf"export declare class {name} extends .*?\n\}}\n", self.declared, re.S)
        return body[0] if body else ""

    def entries(self, code):
        return ENTRY.findall(code)

    def function(self, name):
        return re.search(rf"function {name}\(struct\) \{{\n(.*?)\n\}}", self.code, re.S)[1]

    def block(self, code, interface, owner):
        given = self.interface(interface)
        attributes, blocks = {}, {}
        for name, value, is_block, kind, storage in self.entries(code):
            optional = given.get(camel(name)) != ""
            need = {"optional": True} if optional else {"required": True}
            if is_block == "true":
                function = re.search(r"(\w+)ToHclTerraform", value)[1]
                inner = function[:1].upper() + function[1:]
                nesting = "single" if kind == "struct" else kind
                blocks[name] = {
                    "nesting_mode": nesting,
                    "block": self.block(self.function(function + "ToHclTerraform"), inner, inner + "OutputReference"),
                }
                if not optional and nesting != "single":
                    blocks[name]["min_items"] = 1
                if "listMapper" not in value and nesting != "single":
                    blocks[name]["max_items"] = 1
                continue
            attributes[name] = {"type": type_of(kind, storage), **need}
            if name == "id" and optional:
                attributes[name]["computed"] = True
            if name.endswith("_wo"):
                attributes[name]["write_only"] = True
        self.computed(owner, attributes, blocks)
        return {"attributes": attributes, **({"block_types": blocks} if blocks else {})}

    def computed(self, owner, attributes, blocks):
        """What can be read and not set."""
        body = self.class_body(owner)
        settable = set(re.findall(r"set (\w+)\(", body))
        known = {camel(name) for name in [*attributes, *blocks]}
        plain = {"string": "string", "number": "number", "string[]": ["list", "string"], "cdktf.IResolvable": "bool",
                 "cdktf.StringMap": ["map", "string"]}
        for name, kind in re.findall(r"get (\w+)\(\): ([\w.\[\]]+);", body):
            if name in settable or name in known or kind not in plain or name.endswith("Input") or name == "fqn":
                continue
            snake = re.sub(r"([A-Z])", lambda upper: "_" + upper[1].lower(), name)
            if not snake.startswith("has_value_wo"):
                attributes[snake] = {"type": plain[kind], "computed": True}

    def schema(self):
        name = re.search(r"(\w+)\.tfResourceType = ", self.code)[1]
        code = re.search(r"synthesizeHclAttributes\(\) \{(.*)", self.code, re.S)[1]
        # The last class of the file is the resource itself.
        return {"version": 0, "block": self.block(code, f"{name}Config", name)}


def main(directory, provider, *types):
    resources, sources, own = {}, {}, {"attributes": {}, "block_types": {}}
    for kind in types:
        if kind.startswith("provider."):
            name, block = kind.removeprefix("provider."), Binding(Path(directory) / "provider").schema()["block"]
            for part in own:
                own[part].update({key: value for key, value in block.get(part, {}).items() if key == name})
            continue
        is_source, name = kind.startswith("data."), kind.removeprefix("data.")
        folder = name.removeprefix(provider + "_").replace("_", "-")
        binding = Binding(Path(directory) / ("data-" + name.replace("_", "-") if is_source else folder))
        assert binding.provider_type == name, f"{binding.provider_type} is not {name}"
        schema = (sources if is_source else resources)[name] = binding.schema()
        if is_source:
            # What a data source may be asked by, it answers as well.
            for attribute in schema["block"]["attributes"].values():
                attribute.update({} if "required" in attribute else {"computed": True})
    address = f"registry.terraform.io/hashicorp/{provider}"
    schemas = {"provider": {"version": 0, "block": own}, "resource_schemas": resources, "data_source_schemas": sources}
    document = {"format_version": "1.0", "provider_schemas": {address: schemas}}
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
