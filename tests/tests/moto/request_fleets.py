"""Requests one Spot Fleet and one EC2 Fleet of an EC2 server, as somebody else's client does.

Arguments: the server's address and the region. Prints the ids as JSON.

moto launches the fleets' instances without the tags by which EC2 marks them: they are added here.
"""

import json
import sys

import boto3

address, region = sys.argv[1:]
access = {
    "endpoint_url": address,
    "region_name": region,
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}
ec2 = boto3.client("ec2", **access)
image = ec2.describe_images()["Images"][0]["ImageId"]
subnets = {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]}


def instances():
    reservations = ec2.describe_instances()["Reservations"]
    return {instance["InstanceId"] for reservation in reservations for instance in reservation["Instances"]}


def mark(before, tag, fleet):
    ec2.create_tags(Resources=sorted(instances() - before), Tags=[{"Key": tag, "Value": fleet}])


def specification(instance_type, zone, weight):
    return {
        "ImageId": image,
        "InstanceType": instance_type,
        "SubnetId": subnets[zone],
        "WeightedCapacity": weight,
    }


spot_fleet = ec2.request_spot_fleet(
    SpotFleetRequestConfig={
        "IamFleetRole": "arn:aws:iam::123456789012:role/aws-ec2-spot-fleet-tagging-role",
        "TargetCapacity": 6,
        "AllocationStrategy": "diversified",
        "Type": "maintain",
        "LaunchSpecifications": [
            specification("m5.large", region + "a", 1.0),
            specification("c5.xlarge", region + "b", 2.0),
        ],
        "TagSpecifications": [
            {"ResourceType": "spot-fleet-request", "Tags": [{"Key": "service", "Value": "web"}]}
        ],
    }
)["SpotFleetRequestId"]
mark(set(), "aws:ec2spot:fleet-request-id", spot_fleet)
before = instances()

template = ec2.create_launch_template(
    LaunchTemplateName="batch", LaunchTemplateData={"ImageId": image, "InstanceType": "r5.large"}
)["LaunchTemplate"]["LaunchTemplateId"]
ec2_fleet = ec2.create_fleet(
    Type="maintain",
    TargetCapacitySpecification={
        "TotalTargetCapacity": 3,
        "OnDemandTargetCapacity": 1,
        "SpotTargetCapacity": 2,
        "DefaultTargetCapacityType": "spot",
    },
    SpotOptions={"AllocationStrategy": "diversified"},
    LaunchTemplateConfigs=[
        {
            "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
            "Overrides": [
                {"InstanceType": "m5.large", "SubnetId": subnets[region + "a"], "WeightedCapacity": 1.0}
            ],
        }
    ],
)["FleetId"]
mark(before, "aws:ec2:fleet-id", ec2_fleet)

scaling = boto3.client("application-autoscaling", **access)
scaling.register_scalable_target(
    ServiceNamespace="ec2",
    ResourceId=f"spot-fleet-request/{spot_fleet}",
    ScalableDimension="ec2:spot-fleet-request:TargetCapacity",
    MinCapacity=1,
    MaxCapacity=9,
)
print(json.dumps({"spot_fleet": spot_fleet, "ec2_fleet": ec2_fleet}))
