#!/usr/bin/env python3
"""moto's server, mended where the AWS provider cannot live with its answers.

Of a Spot Fleet that was made of a launch template, moto shows launch specifications that nobody gave, and neither its type,
its policy, its end nor its launch template: the provider ends with a panic, or wants a new fleet at each plan. Here a
fleet is shown as it was asked for, as EC2 does.

Of a queue, moto forgets the policy when something else is set, and never shows who may use it for dead letters: the provider
waits for both. Of a launch template, it shows the template's own tags as those of what is launched.

What a fleet launches has the tag by which EC2 marks it, which moto leaves out: by it the autoscaler finds them. A fleet that was deleted with its instances ends as deleted, once that was seen.
"""

import json
import sys

from moto.ec2.models.fleets import Fleet, FleetsBackend
from moto.ec2.models.spot_requests import SpotFleetRequest, SpotRequestBackend
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ec2.responses.spot_fleets import SpotFleets
from moto.server import main
from moto.sqs.models import Queue

request_spot_fleet = SpotFleets.request_spot_fleet
modify_spot_fleet_request = SpotFleets.modify_spot_fleet_request
shown_by_moto = SpotFleetRequest.spot_fleet_request_config.fget
made_by_moto = SpotRequestBackend.request_spot_fleet
set_attributes = Queue._set_attributes
attributes = Queue.attributes.fget
describe_fleets = FleetsBackend.describe_fleets
create_launch_template = LaunchTemplates.create_launch_template


def request(self):
    made = []

    def keep(backend, **arguments):
        made.append(made_by_moto(backend, **arguments))
        return made[-1]

    SpotRequestBackend.request_spot_fleet = keep
    try:
        answer = request_spot_fleet(self)
    finally:
        SpotRequestBackend.request_spot_fleet = made_by_moto
    made[0].asked = self._get_param("SpotFleetRequestConfig", {})
    return answer


def modify(self):
    answer = modify_spot_fleet_request(self)
    fleet = self.ec2_backend.get_spot_fleet_request(self._get_param("SpotFleetRequestId"))
    for name in ("ExcessCapacityTerminationPolicy", "OnDemandTargetCapacity"):
        if (value := self._get_param(name)) is not None:
            fleet.asked[name] = value
    return answer


def shown(self):
    config = shown_by_moto(self)
    asked = getattr(self, "asked", {})
    if "LaunchTemplateConfigs" in asked:
        del config["LaunchSpecifications"]
        config = {**{name: value for name, value in asked.items() if name != "TagSpecifications"}, **config}
    return config


def set_some(self, some, now=None):
    policy = getattr(self, "policy", None)
    set_attributes(self, some, now)
    if "Policy" not in some:
        self.policy = policy


def attributes_shown(self):
    allow = getattr(self, "redrive_allow_policy", None)
    shown = {**attributes(self), **({"RedriveAllowPolicy": allow} if allow else {})}
    if shown.get("RedrivePolicy"):
        # Without spaces, as SQS has it.
        shown["RedrivePolicy"] = json.dumps(json.loads(shown["RedrivePolicy"]), separators=(",", ":"))
    return shown


def create_template(self):
    answer = create_launch_template(self)
    for template in self.ec2_backend.launch_templates.values():
        for version in template.versions:
            specifications = version.data.get("TagSpecifications", [])
            specifications[:] = [one for one in specifications if one["ResourceType"] != "launch-template"]
    return answer


def marks(fleets, name, tag):
    launch = getattr(fleets, name)

    def launched(self, weight_to_add):
        launch(self, weight_to_add)
        of_orders = [request.instance for request in self.spot_requests]
        for instance in of_orders + [one["instance"] for one in getattr(self, "on_demand_instances", [])]:
            instance.add_tags({tag: self.id})

    setattr(fleets, name, launched)


def fleets_shown(self, *arguments):
    fleets = describe_fleets(self, *arguments)
    for fleet in fleets:
        if fleet.state == "deleted_terminating":
            fleet.state = "deleted"
    return fleets


FleetsBackend.describe_fleets = fleets_shown
marks(SpotFleetRequest, "create_spot_requests", "aws:ec2spot:fleet-request-id")
marks(Fleet, "create_spot_requests", "aws:ec2:fleet-id")
marks(Fleet, "create_on_demand_requests", "aws:ec2:fleet-id")
# What may be asked for by name; these are looked up for FIFO queues alone, and there is none.
Queue.FIFO_ATTRIBUTES = [*Queue.FIFO_ATTRIBUTES, "RedriveAllowPolicy"]
Queue._set_attributes = set_some
Queue.attributes = property(attributes_shown)
LaunchTemplates.create_launch_template = create_template
SpotFleets.request_spot_fleet = request
SpotFleets.modify_spot_fleet_request = modify
SpotFleetRequest.spot_fleet_request_config = property(shown)

if __name__ == "__main__":
    main(sys.argv[1:])
