"""Asks the loopback cloud by boto3, as any Python program would ask AWS.

Usage: boto3_smoke.py ENDPOINT SECTION. Exits with 0 when everything was as on AWS.

Every answer is also held against botocore's model of the service: an element that the model does not have, a
number that is none, or a word that its enumeration does not list fails, which the parser itself would let pass.
"""

import datetime
import json
import os
import sys
import threading
import time
import urllib.request
from xml.etree import ElementTree

import boto3
import botocore.model
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

REGION = "eu-west-1"
ACCOUNT = "123456789012"
ENDPOINT = sys.argv[1]


def client(service, key="muster", secret="muster-secret", region=REGION, token=None):
    made = boto3.client(
        service,
        region_name=region,
        endpoint_url=ENDPOINT,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, user_agent_appid="smoke"),
    )
    made.meta.events.register("before-parse", hold_against_model)
    return made


def control(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{ENDPOINT}/_muster/{path}", data=data, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.load(answer)


def now():
    return datetime.datetime.fromisoformat(control("GET", "state")["now"])


def refused(code, status, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        found = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, status), f"{found}, expected {(code, status)}: {error}"
        return error
    raise AssertionError(f"expected {code}")


def unanswered(call, **arguments):
    """The connection ends without a whole answer: a client cannot know what has happened."""
    try:
        call(**arguments)
    except HTTPClientError:
        return
    raise AssertionError("there was an answer")


# The models.


def hold_against_model(operation_model, response_dict, **_):
    if response_dict["status_code"] != 200 or operation_model.output_shape is None:
        return
    kind = response_dict["headers"].get("content-type", "")
    shape, body = operation_model.output_shape, response_dict["body"]
    name = operation_model.name
    if kind.startswith("text/xml") and operation_model.service_model.resolved_protocol == "ec2":
        root = ElementTree.fromstring(body)
        assert root.tag == f"{{http://ec2.amazonaws.com/doc/2016-11-15/}}{name}Response", root.tag
        hold_xml([child for child in root if local(child) != "requestId"], shape, name)
    elif "json" in kind:
        hold_json(json.loads(body or b"{}"), shape, name)


def local(element):
    return element.tag.rpartition("}")[2]


def hold_xml(children, shape, path):
    members = {}
    for name, member in shape.members.items():
        members[member.serialization.get("name", name)] = member
    for child in children:
        name = local(child)
        assert name in members, f"{path}.{name} is not in the model"
        member, place = members[name], f"{path}.{name}"
        if member.type_name == "structure":
            hold_xml(list(child), member, place)
        elif member.type_name == "list":
            for item in child:
                assert local(item) == member.member.serialization.get("name", "item"), f"{place}: {local(item)}"
                if member.member.type_name == "structure":
                    hold_xml(list(item), member.member, place)
                else:
                    hold_text(item.text or "", member.member, place)
        else:
            hold_text(child.text or "", member, place)


def hold_text(text, shape, path):
    if shape.type_name in ("integer", "long"):
        int(text)
    elif shape.type_name in ("double", "float"):
        float(text)
    elif shape.type_name == "boolean":
        assert text in ("true", "false"), f"{path}: {text}"
    elif shape.type_name == "timestamp":
        datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    elif isinstance(shape, botocore.model.StringShape) and shape.enum:
        assert text in shape.enum, f"{path}: {text!r} is not one of {shape.enum[:8]}"


def hold_json(value, shape, path):
    if shape.type_name == "structure":
        names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for name, inner in value.items():
            assert name in names, f"{path}.{name} is not in the model"
            hold_json(inner, names[name], f"{path}.{name}")
        for name in shape.required_members:
            assert name in value, f"{path}.{name} is required"
    elif shape.type_name == "list":
        for inner in value:
            hold_json(inner, shape.member, path)
    elif shape.type_name == "map":
        for inner in value.values():
            hold_json(inner, shape.value, path)
    elif shape.type_name in ("integer", "long"):
        assert type(value) is int, f"{path}: {value!r}"
    elif shape.type_name in ("double", "float", "timestamp"):
        assert type(value) in (int, float), f"{path}: {value!r}"
    elif shape.type_name == "boolean":
        assert type(value) is bool, f"{path}: {value!r}"
    elif shape.type_name == "string":
        assert type(value) is str, f"{path}: {value!r}"
        assert not shape.enum or value in shape.enum, f"{path}: {value!r}"


# Fleets, whichever of the two services they belong to.


class SpotFleet:
    def __init__(self, ec2):
        self.ec2 = ec2

    def create(self, target, template, **more):
        config = {
            "IamFleetRole": f"arn:aws:iam::{ACCOUNT}:role/aws-ec2-spot-fleet-tagging-role",
            "TargetCapacity": target,
            "AllocationStrategy": "priceCapacityOptimized",
            "ExcessCapacityTerminationPolicy": "noTermination",
            "Type": "maintain",
            "LaunchTemplateConfigs": [template],
            "TagSpecifications": [
                {"ResourceType": "spot-fleet-request", "Tags": [{"Key": "service", "Value": "web"}]}
            ],
        }
        return self.ec2.request_spot_fleet(SpotFleetRequestConfig=config | more)["SpotFleetRequestId"]

    def describe(self, fleet):
        [found] = self.ec2.describe_spot_fleet_requests(SpotFleetRequestIds=[fleet])["SpotFleetRequestConfigs"]
        config = found["SpotFleetRequestConfig"]
        tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
        return (
            found["SpotFleetRequestState"],
            config["TargetCapacity"],
            config["FulfilledCapacity"],
            config["ExcessCapacityTerminationPolicy"],
            tags,
        )

    def instances(self, fleet):
        return self.ec2.describe_spot_fleet_instances(SpotFleetRequestId=fleet)["ActiveInstances"]

    def modify(self, fleet, target):
        answer = self.ec2.modify_spot_fleet_request(
            SpotFleetRequestId=fleet, TargetCapacity=target, ExcessCapacityTerminationPolicy="noTermination"
        )
        return answer["Return"]

    def history(self, fleet, since):
        return self.ec2.describe_spot_fleet_request_history(SpotFleetRequestId=fleet, StartTime=since)

    def delete(self, fleet):
        answer = self.ec2.cancel_spot_fleet_requests(SpotFleetRequestIds=[fleet, "sfr-gone"], TerminateInstances=True)
        [done], [failed] = answer["SuccessfulFleetRequests"], answer["UnsuccessfulFleetRequests"]
        assert failed["Error"]["Code"] == "fleetRequestIdDoesNotExist", failed
        return done["PreviousSpotFleetRequestState"], done["CurrentSpotFleetRequestState"]

    keeps, ends, ended = "noTermination", "default", "cancelled_terminating"
    launched = ("instanceChange", "launched")
    tag = "aws:ec2spot:fleet-request-id"
    unknown = "InvalidSpotFleetRequestId.NotFound"


class Ec2Fleet:
    def __init__(self, ec2):
        self.ec2 = ec2

    def create(self, target, template, **more):
        request = {
            "TargetCapacitySpecification": {
                "TotalTargetCapacity": target,
                "OnDemandTargetCapacity": 0,
                "SpotTargetCapacity": target,
                "DefaultTargetCapacityType": "spot",
            },
            "SpotOptions": {"AllocationStrategy": "price-capacity-optimized"},
            "ExcessCapacityTerminationPolicy": "no-termination",
            "Type": "maintain",
            "LaunchTemplateConfigs": [template],
            "TagSpecifications": [{"ResourceType": "fleet", "Tags": [{"Key": "service", "Value": "web"}]}],
        }
        return self.ec2.create_fleet(**(request | more))["FleetId"]

    def describe(self, fleet):
        [found] = self.ec2.describe_fleets(FleetIds=[fleet])["Fleets"]
        tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
        return (
            found["FleetState"],
            found["TargetCapacitySpecification"]["TotalTargetCapacity"],
            found["FulfilledCapacity"],
            found["ExcessCapacityTerminationPolicy"],
            tags,
        )

    def instances(self, fleet):
        return self.ec2.describe_fleet_instances(FleetId=fleet)["ActiveInstances"]

    def modify(self, fleet, target):
        answer = self.ec2.modify_fleet(
            FleetId=fleet,
            TargetCapacitySpecification={
                "TotalTargetCapacity": target,
                "OnDemandTargetCapacity": 0,
                "SpotTargetCapacity": target,
            },
            ExcessCapacityTerminationPolicy="no-termination",
        )
        return answer["Return"]

    def history(self, fleet, since):
        return self.ec2.describe_fleet_history(FleetId=fleet, StartTime=since)

    def delete(self, fleet):
        answer = self.ec2.delete_fleets(FleetIds=[fleet, "fleet-gone"], TerminateInstances=True)
        [done], [failed] = answer["SuccessfulFleetDeletions"], answer["UnsuccessfulFleetDeletions"]
        assert failed["Error"]["Code"] == "fleetIdDoesNotExist", failed
        return done["PreviousFleetState"], done["CurrentFleetState"]

    keeps, ends, ended = "no-termination", "termination", "deleted_terminating"
    launched = ("instance-change", "launched")
    tag = "aws:ec2:fleet-id"
    unknown = "InvalidFleetId.NotFound"


def template(ec2):
    data = {
        "ImageId": "ami-0fedcba9876543210",
        "Monitoring": {"Enabled": True},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "node"}]}],
    }
    made = ec2.create_launch_template(LaunchTemplateName="node", LaunchTemplateData=data)["LaunchTemplate"]
    overrides = [
        {"InstanceType": "m5.large", "AvailabilityZone": "eu-west-1a", "WeightedCapacity": 1},
        {"InstanceType": "c5.large", "WeightedCapacity": 1},
    ]
    specification = {"LaunchTemplateId": made["LaunchTemplateId"], "Version": "$Latest"}
    return {"LaunchTemplateSpecification": specification, "Overrides": overrides}


def life(fleets):
    """A fleet from its request to its end: asked for, filled, changed, one instance removed, deleted."""
    ec2, began = fleets.ec2, now()
    fleet = fleets.create(3, template(ec2))
    state, target, fulfilled, policy, tags = fleets.describe(fleet)
    assert (state, target, fulfilled) == ("submitted", 3, 0.0), (state, target, fulfilled)
    assert (policy, tags) == (fleets.keeps, {"service": "web"}), (policy, tags)

    control("POST", "advance", {"by": "3m"})
    state, _, fulfilled, _, _ = fleets.describe(fleet)
    assert (state, fulfilled) == ("active", 3.0), (state, fulfilled)
    listed = fleets.instances(fleet)
    assert len(listed) == 3 and all(one["InstanceHealth"] == "healthy" for one in listed), listed
    assert all(one["SpotInstanceRequestId"].startswith("sir-") for one in listed), listed

    by_tag = [{"Name": f"tag:{fleets.tag}", "Values": [fleet]}, {"Name": "instance-state-name", "Values": ["running"]}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=by_tag)
    running = [one for page in pages for found in page["Reservations"] for one in found["Instances"]]
    assert {one["InstanceId"] for one in running} == {one["InstanceId"] for one in listed}
    for one in running:
        assert one["ImageId"] == "ami-0fedcba9876543210" and one["InstanceLifecycle"] == "spot", one
        assert one["CpuOptions"]["CoreCount"] * one["CpuOptions"]["ThreadsPerCore"] == 2, one
        tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
        assert tags["Name"] == "node" and tags["aws:ec2launchtemplate:version"] == "1", tags

    # What EC2 does not say: how long. What it does: one modification at a time.
    assert fleets.modify(fleet, 4) is True
    assert fleets.describe(fleet)[0] == "modifying"
    refused("FleetNotInModifiableState", 400, fleets.modify, fleet=fleet, target=5)
    control("POST", "advance", {"by": "3m"})
    assert fleets.describe(fleet)[:3] == ("active", 4, 4.0), fleets.describe(fleet)

    # Down without a termination, then the one that was chosen.
    assert fleets.modify(fleet, 3) is True
    control("POST", "advance", {"by": "1m"})
    victim = fleets.instances(fleet)[0]["InstanceId"]
    [change] = ec2.terminate_instances(InstanceIds=[victim])["TerminatingInstances"]
    assert change["PreviousState"] == {"Code": 16, "Name": "running"}, change
    assert change["CurrentState"] == {"Code": 32, "Name": "shutting-down"}, change
    control("POST", "advance", {"by": "5m"})
    assert fleets.describe(fleet)[:3] == ("active", 3, 3.0), fleets.describe(fleet)
    assert victim not in {one["InstanceId"] for one in fleets.instances(fleet)}
    [request] = ec2.describe_spot_instance_requests(Filters=[{"Name": "instance-id", "Values": [victim]}])[
        "SpotInstanceRequests"
    ]
    assert request["Status"]["Code"] == "instance-terminated-by-user", request

    history = fleets.history(fleet, began)["HistoryRecords"]
    kinds = [(record["EventType"], record["EventInformation"]["EventSubType"]) for record in history]
    assert kinds.count(fleets.launched) == 4, kinds
    assert fleets.delete(fleet) == ("active", fleets.ended)


def spot_fleet():
    ec2 = client("ec2")
    life(SpotFleet(ec2))
    refused(SpotFleet.unknown, 400, ec2.describe_spot_fleet_requests, SpotFleetRequestIds=["sfr-0"])


def ec2_fleet():
    ec2 = client("ec2")
    life(Ec2Fleet(ec2))
    refused(Ec2Fleet.unknown, 400, ec2.describe_fleets, FleetIds=["fleet-0"])
    deleted = ec2.describe_fleets(Filters=[{"Name": "fleet-state", "Values": ["deleted*"]}])["Fleets"]
    assert len(deleted) == 1, deleted


def paging():
    """The world's own fleet has twelve instances."""
    ec2 = client("ec2")
    whole = [found["Instances"][0]["InstanceId"] for found in ec2.describe_instances()["Reservations"]]
    assert len(whole) == 12, len(whole)
    for operation, arguments, read in [
        ("describe_instances", {}, lambda page: [r["Instances"][0]["InstanceId"] for r in page["Reservations"]]),
        ("describe_instance_status", {}, lambda page: [s["InstanceId"] for s in page["InstanceStatuses"]]),
        ("describe_tags", {"Filters": [{"Name": "key", "Values": ["aws:ec2spot:fleet-request-id"]}]},
         lambda page: [tag["ResourceId"] for tag in page["Tags"]]),
    ]:
        pages = list(ec2.get_paginator(operation).paginate(PaginationConfig={"PageSize": 5}, **arguments))
        assert [len(read(page)) for page in pages] == [5, 5, 2], operation
        assert sorted(one for page in pages for one in read(page)) == sorted(whole), operation
    [fleet] = ec2.describe_spot_fleet_requests()["SpotFleetRequestConfigs"]
    seen, token = [], None
    while token != "":
        arguments = {"NextToken": token} if token else {}
        page = ec2.describe_spot_fleet_instances(
            SpotFleetRequestId=fleet["SpotFleetRequestId"], MaxResults=7, **arguments
        )
        seen.append([one["InstanceId"] for one in page["ActiveInstances"]])
        token = page.get("NextToken", "")
    assert [len(page) for page in seen] == [7, 5] and sorted(sum(seen, [])) == sorted(whole)
    refused("InvalidPaginationToken", 400, ec2.describe_instances, MaxResults=5, NextToken="%")
    refused("InvalidParameterValue", 400, ec2.describe_instances, MaxResults=4)


def refusals():
    ec2 = client("ec2")
    refused("AuthFailure", 401, client("ec2", secret="wrong").describe_instances)
    refused("AuthFailure", 401, client("ec2", key="nobody").describe_instances)
    refused("AuthFailure", 401, client("ec2", region="us-east-1").describe_instances)
    refused("SignatureDoesNotMatch", 403, client("sts", secret="wrong").get_caller_identity)
    refused("InvalidClientTokenId", 403, client("sts", key="nobody").get_caller_identity)
    refused("InvalidSignatureException", 400, client("ssm", secret="wrong").get_parameter, Name="x")
    refused("SignatureDoesNotMatch", 403, client("cloudwatch", secret="wrong").list_metrics)
    refused("DryRunOperation", 412, ec2.describe_instances, DryRun=True)
    refused("InvalidAction", 400, ec2.describe_transit_gateways)
    refused("InvalidInstanceID.NotFound", 400, ec2.terminate_instances, InstanceIds=["i-0123456789abcdef0"])
    refused("InvalidInstanceID.Malformed", 400, ec2.terminate_instances, InstanceIds=["x"])
    filters = [{"Name": "nonsense", "Values": ["x"]}]
    refused("InvalidParameterValue", 400, ec2.describe_instances, Filters=filters)

    def fault(kind, **more):
        control("PUT", "faults", [{"kind": kind, "actions": ["DescribeInstances"], "times": 1} | more])

    fault({"type": "throttle"})
    refused("RequestLimitExceeded", 503, ec2.describe_instances)
    fault({"type": "deny"})
    refused("UnauthorizedOperation", 403, ec2.describe_instances)
    fault({"type": "refuse", "status": 500, "code": "InternalError"}, callers=["smoke"])
    refused("InternalError", 500, ec2.describe_instances)
    for kind in ["cut_answer", "close_after", "close_before"]:
        fault({"type": kind})
        unanswered(ec2.describe_instances)
    ec2.describe_instances()
    # Six hit by a fault, three refused for their form, and one that went well; those that were not believed were
    # nobody's.
    counted = control("GET", "calls")["smoke"]["DescribeInstances"]["calls"]
    assert counted == 9, counted


def rates():
    """EC2's documented rate of this action is a bucket of 50, and the world's time stands still."""
    ec2 = client("ec2")
    for _ in range(50):
        ec2.describe_spot_fleet_requests()
    refused("RequestLimitExceeded", 503, ec2.describe_spot_fleet_requests)
    control("POST", "advance", {"by": "1s"})
    ec2.describe_spot_fleet_requests()
    counted = control("GET", "calls")["smoke"]["DescribeSpotFleetRequests"]
    assert counted == {"calls": 52, "throttled": 1, "failed": 0}, counted


def lost_answers():
    """The world takes effect and its answer is lost."""
    ec2 = client("ec2")
    instance = ec2.describe_instances()["Reservations"][0]["Instances"][0]["InstanceId"]
    unanswered(ec2.terminate_instances, InstanceIds=[instance])
    [found] = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"]
    assert found["State"]["Name"] == "shutting-down", found


def catalogue():
    ec2 = client("ec2")
    prices = ec2.describe_spot_price_history(InstanceTypes=["m5.large"], ProductDescriptions=["Linux/UNIX"])
    prices = {one["AvailabilityZone"]: one["SpotPrice"] for one in prices["SpotPriceHistory"]}
    assert prices == {"eu-west-1a": "0.041000", "eu-west-1b": "0.040200"}, prices
    [kind] = ec2.describe_instance_types(InstanceTypes=["c5.large"])["InstanceTypes"]
    assert kind["VCpuInfo"]["DefaultVCpus"] == 2, kind
    zones = [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]]
    assert zones == ["eu-west-1a", "eu-west-1b"], zones
    made = template(ec2)["LaunchTemplateSpecification"]["LaunchTemplateId"]
    ec2.create_launch_template_version(
        LaunchTemplateId=made, SourceVersion="1", LaunchTemplateData={"InstanceType": "r5.large"}
    )
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=made, Versions=["$Latest", "$Default"])
    shown = {one["VersionNumber"]: one["LaunchTemplateData"] for one in versions["LaunchTemplateVersions"]}
    assert shown[2]["InstanceType"] == "r5.large" and shown[2]["ImageId"] == shown[1]["ImageId"], shown
    [named] = ec2.describe_launch_templates(LaunchTemplateNames=["node"])["LaunchTemplates"]
    assert (named["LaunchTemplateId"], named["LatestVersionNumber"]) == (made, 2), named
    [instance] = ec2.describe_instances(Filters=[{"Name": "instance-type", "Values": ["m5.*"]}])["Reservations"][0][
        "Instances"
    ]
    ec2.create_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": "seen", "Value": "yes & <no>"}])
    tagged = ec2.describe_tags(Filters=[{"Name": "tag:seen", "Values": ["yes*"]}, {"Name": "key", "Values": ["seen"]}])
    assert [tag["Value"] for tag in tagged["Tags"]] == ["yes & <no>"], tagged


def metrics():
    """In each of the three protocols that CloudWatch speaks."""
    [fleet] = client("ec2").describe_spot_fleet_requests()["SpotFleetRequestConfigs"]
    fleet = fleet["SpotFleetRequestId"]
    instance = client("ec2").describe_instances()["Reservations"][0]["Instances"][0]["InstanceId"]
    control("POST", "advance", {"by": "30m"})
    end = now()
    start = end - datetime.timedelta(minutes=20)

    def query(name, namespace, metric, dimension, value, period=60, stat="Average"):
        dimensions = [{"Name": dimension, "Value": value}]
        metric = {"Namespace": namespace, "MetricName": metric, "Dimensions": dimensions}
        return {"Id": name, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}}

    queries = [
        query("cpu", "AWS/EC2Spot", "CPUUtilization", "FleetRequestId", fleet),
        query("target", "AWS/EC2Spot", "TargetCapacity", "FleetRequestId", fleet),
        query("fulfilled", "AWS/EC2Spot", "FulfilledCapacity", "FleetRequestId", fleet, period=300, stat="Maximum"),
        query("one", "AWS/EC2", "CPUUtilization", "InstanceId", instance),
        query("none", "AWS/EC2", "CPUUtilization", "InstanceId", "i-gone"),
    ]
    answers = {}
    for protocol in ["json", "smithy-rpc-v2-cbor", "query"]:
        botocore.model.ServiceModel.resolved_protocol = protocol
        cloudwatch = client("cloudwatch")
        arguments = {"StartTime": start, "EndTime": end, "ScanBy": "TimestampAscending", "MetricDataQueries": queries}
        whole = cloudwatch.get_metric_data(**arguments)
        results = {one["Id"]: one for one in whole["MetricDataResults"]}
        assert list(results) == ["cpu", "target", "fulfilled", "one", "none"], results
        # Nine of demand on twelve instances.
        assert all(abs(value - 75.0) < 1e-6 for value in results["cpu"]["Values"]), results["cpu"]
        assert 18 <= len(results["cpu"]["Values"]) <= 20, results["cpu"]
        assert set(results["target"]["Values"]) == {12.0}, results["target"]
        assert 3 <= len(results["fulfilled"]["Values"]) <= 4, results["fulfilled"]
        assert results["none"]["Values"] == [] and results["none"]["StatusCode"] == "Complete", results["none"]
        stamps = results["one"]["Timestamps"]
        assert stamps == sorted(stamps) and start <= stamps[0] and stamps[-1] < end, stamps
        pages = list(cloudwatch.get_paginator("get_metric_data").paginate(**arguments, MaxDatapoints=7))
        assert len(pages) > 3, len(pages)
        joined = [value for page in pages for one in page["MetricDataResults"] if one["Id"] == "cpu"
                  for value in one["Values"]]
        assert joined == results["cpu"]["Values"], joined
        answers[protocol] = whole["MetricDataResults"]

        statistics = cloudwatch.get_metric_statistics(
            Namespace="AWS/EC2Spot", MetricName="CPUUtilization",
            Dimensions=[{"Name": "FleetRequestId", "Value": fleet}],
            StartTime=start, EndTime=end, Period=300, Statistics=["Average", "SampleCount"],
        )["Datapoints"]
        assert all(point["Unit"] == "Percent" and abs(point["Average"] - 75.0) < 1e-6 for point in statistics)
        listed = cloudwatch.list_metrics(Namespace="AWS/EC2Spot")["Metrics"]
        assert len(listed) == 3, listed
        refused("InvalidParameterValue", 400, cloudwatch.get_metric_data,
                **(arguments | {"StartTime": end, "EndTime": start}))
    assert answers["json"] == answers["smithy-rpc-v2-cbor"] == answers["query"]


def messages():
    sqs = client("sqs")
    url = sqs.get_queue_url(QueueName="muster-events")["QueueUrl"]
    while sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        pass
    instance = control("GET", "state")["fleets"][0]["instances"][0]["id"]
    control("POST", "interrupt", {"instance": instance})
    [message] = [
        one for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)["Messages"]
        if json.loads(one["Body"])["detail-type"] == "EC2 Spot Instance Interruption Warning"
    ]
    body = json.loads(message["Body"])
    assert body["detail"] == {"instance-id": instance, "instance-action": "terminate"}, body
    assert (body["source"], body["account"], body["region"]) == ("aws.ec2", ACCOUNT, REGION), body
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    # A long poll ends when something comes, or when its time is over in the world.
    answers = []

    def poll():
        answers.append(client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages", []))

    while sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        pass
    for change, expected in [
        (("rebalance", {"instance": instance}), "EC2 Instance Rebalance Recommendation"),
        (("advance", {"by": "20s"}), None),
    ]:
        before = control("GET", "calls")["smoke"]["ReceiveMessage"]["calls"]
        waiting = threading.Thread(target=poll)
        waiting.start()
        while control("GET", "calls")["smoke"]["ReceiveMessage"]["calls"] == before:
            time.sleep(0.01)
        control("POST", *change)
        waiting.join(60)
        assert not waiting.is_alive(), change
        found = [json.loads(one["Body"])["detail-type"] for one in answers.pop()]
        assert found == ([expected] if expected else []), (change, found)

    own = sqs.create_queue(QueueName="own", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    for text in "one", "two":
        sqs.send_message(QueueUrl=own, MessageBody=text)
    received = sqs.receive_message(QueueUrl=own, MaxNumberOfMessages=10)["Messages"]
    assert sorted(one["Body"] for one in received) == ["one", "two"], received
    assert "Messages" not in sqs.receive_message(QueueUrl=own)
    hidden = sqs.get_queue_attributes(QueueUrl=own, AttributeNames=["All"])["Attributes"]
    assert hidden["ApproximateNumberOfMessagesNotVisible"] == "2", hidden
    entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(received)]
    done = sqs.delete_message_batch(QueueUrl=own, Entries=entries + [{"Id": "x", "ReceiptHandle": "nonsense"}])
    assert [one["Id"] for one in done["Successful"]] == ["0", "1"], done
    assert [one["Code"] for one in done["Failed"]] == ["ReceiptHandleIsInvalid"], done
    refused("AWS.SimpleQueueService.NonExistentQueue", 400, sqs.get_queue_url, QueueName="gone")


def parameters():
    ssm = client("ssm")
    for number in range(12):
        ssm.put_parameter(Name=f"/muster/p{number:02}", Value=f"v{number}", Type="String")
    ssm.put_parameter(Name="/muster/deep/secret", Value="hidden", Type="SecureString")
    refused("ParameterAlreadyExists", 400, ssm.put_parameter, Name="/muster/p00", Value="x", Type="String")
    assert ssm.put_parameter(Name="/muster/p00", Value="new", Overwrite=True)["Version"] == 2
    found = ssm.get_parameter(Name="/muster/p00")["Parameter"]
    assert (found["Value"], found["Version"], found["Type"]) == ("new", 2, "String"), found
    assert found["ARN"] == f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/muster/p00", found
    assert ssm.get_parameter(Name="/muster/p00:1")["Parameter"]["Value"] == "v0"
    secret = ssm.get_parameter(Name="/muster/deep/secret")["Parameter"]["Value"]
    assert secret != "hidden"
    secret = ssm.get_parameter(Name="/muster/deep/secret", WithDecryption=True)["Parameter"]["Value"]
    assert secret == "hidden", secret
    some = ssm.get_parameters(Names=["/muster/p01", "/gone"])
    assert [one["Name"] for one in some["Parameters"]] == ["/muster/p01"] and some["InvalidParameters"] == ["/gone"]
    pages = list(ssm.get_paginator("get_parameters_by_path").paginate(Path="/muster"))
    assert [len(page["Parameters"]) for page in pages] == [10, 2], pages
    pages = list(ssm.get_paginator("get_parameters_by_path").paginate(Path="/", Recursive=True))
    assert sum(len(page["Parameters"]) for page in pages) == 13
    ssm.delete_parameter(Name="/muster/p01")
    refused("ParameterNotFound", 400, ssm.get_parameter, Name="/muster/p01")


def identity():
    me = client("sts").get_caller_identity()
    assert (me["Account"], me["Arn"]) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/muster"), me
    sts = client("sts")
    role = f"arn:aws:iam::{ACCOUNT}:role/autoscaler"
    assume = {"RoleArn": role, "RoleSessionName": "job"}
    given = sts.assume_role_with_web_identity(WebIdentityToken="a-token", **assume)["Credentials"]
    held = {"key": given["AccessKeyId"], "secret": given["SecretAccessKey"]}
    arn = client("sts", token=given["SessionToken"], **held).get_caller_identity()["Arn"]
    assert arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/autoscaler/job", arn
    client("ec2", token=given["SessionToken"], **held).describe_instances()
    refused("AuthFailure", 401, client("ec2", token="another", **held).describe_instances)
    refused("AuthFailure", 401, client("ec2", **held).describe_instances)
    instance = control("GET", "state")["fleets"][0]["instances"][0]["id"]
    os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = f"{ENDPOINT}/_imds/{instance}/"
    del os.environ["AWS_EC2_METADATA_DISABLED"]
    node = boto3.session.Session(region_name=REGION).client("sts", endpoint_url=ENDPOINT)
    arn = node.get_caller_identity()["Arn"]
    assert arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/muster-node/{instance}", arn
    refused("InvalidIdentityToken", 400, sts.assume_role_with_web_identity, WebIdentityToken="wrong", **assume)


def scalable_targets():
    [fleet] = client("ec2").describe_spot_fleet_requests()["SpotFleetRequestConfigs"]
    scaling = client("application-autoscaling")
    assert scaling.describe_scalable_targets(ServiceNamespace="ec2")["ScalableTargets"] == []
    resource = f"spot-fleet-request/{fleet['SpotFleetRequestId']}"
    target = {"ServiceNamespace": "ec2", "ResourceId": resource,
              "ScalableDimension": "ec2:spot-fleet-request:TargetCapacity"}
    refused("ValidationException", 400, scaling.register_scalable_target, **target)
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=9)
    [found] = scaling.describe_scalable_targets(ServiceNamespace="ec2", ResourceIds=[resource])["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 9), found


if __name__ == "__main__":
    {
        section.__name__: section
        for section in [spot_fleet, ec2_fleet, paging, refusals, rates, lost_answers, catalogue, metrics, messages, parameters,
                        identity, scalable_targets]
    }[sys.argv[2]]()
