"""moto's server with what an image's bake needs and moto lacks, and a record of what it was asked.

moto_images.py PORT RECORD: each request of EC2's is a line of JSON in RECORD.

moto refuses tags of snapshots in CreateImage, which Packer's plugin always sends, and knows neither the attribute `imdsSupport`
of images nor their deprecation. These are taken as read here: the record says whether they were asked for. Nor does it tell an
instance's spot request, which the plugin names, and which has an id here that moto itself is not asked about.
"""

import json
import sys

from moto.core.responses import BaseResponse
from moto.ec2.models.amis import AmiBackend
from moto.ec2.models.instances import Instance
from moto.server import main

port, record = sys.argv[1:]
create_image = AmiBackend.create_image
call_action = BaseResponse.call_action


def without_snapshots(self, instance_id, name, description, tag_specifications):
    ours = [each for each in tag_specifications if each["ResourceType"] != "snapshot"]
    return create_image(self, instance_id, name, description, ours)


def recorded(self):
    asked = {name: values[0] for name, values in self.querystring.items()}
    with open(record, "a", encoding="utf-8") as file:
        file.write(json.dumps(asked) + "\n")
    action = asked.get("Action")
    of_a_request = action == "CreateTags" and asked["ResourceId.1"].startswith("sir-")
    if of_a_request or action == "EnableImageDeprecation" or (action == "ModifyImageAttribute" and "ImdsSupport.Value" in asked):
        return 200, {}, f"<{action}Response><return>true</return></{action}Response>"
    return call_action(self)


AmiBackend.create_image = without_snapshots
Instance.spot_instance_request_id = property(lambda self: "sir-" + self.id[-8:])
BaseResponse.call_action = recorded
main(["-H", "127.0.0.1", "-p", port])
