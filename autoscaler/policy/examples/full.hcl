# A policy that says every default, with what it means. What has no default stands behind `#`.
# Generated; the smallest useful policy is in minimal.hcl.

# A fleet to hold at its target. A file may hold any number of them; a name stands once in all files
# that are read together.
fleet "web" {
  # EC2's id of the fleet. Either this or a `tag` block. Unset: found by `tag`. Takes an id such as
  # "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5" (Spot Fleet) or
  # "fleet-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5" (EC2 Fleet).
  id = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"

  # Which of EC2's services the fleet belongs to. Needed with `tag` alone. Unset: follows from `id`.
  # Takes "spot_fleet" or "ec2_fleet".
  # backend = "spot_fleet"

  # The AWS region of the fleet. Unset: the region that the daemon runs for. Takes a region such as
  # "eu-west-1".
  # region = "eu-west-1"

  # Watch, plan and report, and leave the fleet to others. Takes `true` or `false`.
  observe_only = false

  # Plan and report as if the fleet were held, and change nothing. Takes `true` or `false`.
  dry_run = false

  # How long an instance takes from being requested to serving. Believed until the fleet's own times
  # have been measured. Takes a duration from "1s" to "1h".
  boot = "2m"

  # How much work an instance of a type does, relative to the other types. Turns utilisation into
  # demand; it is not the fleet's own weight, which is read from the fleet. Unset: vCPUs. Takes a
  # map from instance types to their power, such as { "m5.large" = 2 }, numbers from 0.01 to 10000.
  # power = { "m5.large" = 2, "c5.large" = 2.4 }

  # Finds the fleet by a tag of its own, in place of `id`. Exactly one living fleet of the backend
  # must carry it.
  # tag {
  #   # The tag's key. Takes a tag's key, up to 128 characters.
  #   key = "service"
  #
  #   # The tag's value. Takes a tag's value, up to 256 characters.
  #   value = "web"
  # }

  # How small and how large the fleet may be, in the fleet's own units: what its target counts.
  capacity {
    # Never below. Takes a whole number from 1 to 10000.
    min = 1

    # Never above, but for `surge`. Takes a whole number from 1 to 10000.
    max = 20

    # How far above `max` the fleet may reach for a while, so that what replaces a doomed instance
    # boots before that one is gone. Takes a whole number from 1 to 10000.
    surge = 2
  }

  # What to hold.
  target {
    # The mean CPU utilisation to hold. Takes a share from "5%" to "95%".
    cpu = "75%"
  }

  # The promise that sizing keeps: how much of the time utilisation may be above a level. Headroom
  # is bought for it, and no more than it needs.
  objective {
    # The level. It lies above the target. Takes a share from "6%" to "100%".
    above = "80%"

    # How much of the time utilisation may be above the level. Takes a share from "0.01%" to "50%".
    at_most = "1%"

    # The rolling window that the time is counted over. Takes a duration from "1h" to "31d".
    over = "7d"
  }

  # The nodes' agents push means of 10 seconds. Sources are preferred in the order in which the file
  # names them; without any, these are `push` and then `cloudwatch`.
  # source "push" {}

  # Amazon CloudWatch is asked: minutes old, and points of 5 minutes unless the launch template
  # enables detailed monitoring.
  # source "cloudwatch" {
  #   # `fleet` reads the fleet's own metric, an unweighted mean that counts booting instances;
  #   # `instance` reads each instance's, which is right for mixed sizes and costs one metric an
  #   # instance. EC2 Fleets have no metric of their own. Unset: `fleet` for a Spot Fleet, `instance`
  #   # for an EC2 Fleet, neither beside a metric of your own. Takes "fleet" or "instance".
  #   # by = "instance"
  #
  #   # The namespace of a metric of your own, in place of `by`. Unset: EC2's. Takes a namespace such
  #   # as "Acme/Web".
  #   # namespace = "Acme/Web"
  #
  #   # The name of a metric of your own: utilisation in percent, 0 to 100. Unset: CPUUtilization.
  #   # Takes a metric's name such as "Utilization".
  #   # metric = "Utilization"
  #
  #   # The statistic of a metric of your own. Unset: Average. Takes a statistic such as "Average" or
  #   # "p90".
  #   # statistic = "Average"
  #
  #   # The dimensions of a metric of your own. Unset: none. Takes a map from names to values, such as
  #   # { Service = "web" }.
  #   # dimensions = { Service = "web" }
  #
  #   # The distance of the points. Unset: found out from the points. Takes a duration from "1s" to
  #   # "1h".
  #   # period = "1m"
  # }

  # A Prometheus server is asked.
  # source "prometheus" {
  #   # The server. Takes an address such as "http://prometheus.service.consul:9090".
  #   address = "http://prometheus.service.consul:9090"
  #
  #   # A PromQL expression that gives one series: the fleet's mean CPU utilisation in percent, 0 to
  #   # 100. Takes a PromQL expression.
  #   query = "100 * (1 - avg(rate(node_cpu_seconds_total{fleet='web', mode='idle'}[1m])))"
  #
  #   # A file that holds a bearer token. Read again when it changes; never logged. Unset: no token.
  #   # Takes an absolute path such as "/run/secrets/prometheus".
  #   # token_file = "/run/secrets/prometheus"
  # }

  # Limits on the way up.
  scale_out {
    # The largest single step, in the fleet's units. Unset: up to `capacity.max` at once. Takes a
    # whole number from 1 to 10000.
    # max_step = 5

    # How long need must last before it is acted upon. Takes a duration from "0s" to "1h".
    hold = "0s"
  }

  # Limits on the way down.
  scale_in {
    # Whether anything is given back at all. Takes `true` or `false`.
    enabled = true

    # The largest single step, in the fleet's units. Unset: no limit but safety. Takes a whole
    # number from 1 to 10000.
    # max_step = 2

    # How long capacity must have been superfluous before it is given back. Takes a duration from
    # "0s" to "1d".
    hold = "2m"
  }

  # Hours at which the fleet must be larger. A schedule only ever raises capacity, by `min`, by a
  # lower `target`, or by both. Where schedules overlap, the maximum holds: the largest `min`, and
  # the `target` that makes the larger fleet, which is the lowest. Starts follow the wall clock of
  # the zone: one that the clocks skip comes at the end of the gap, one that they show twice comes
  # once, at the first (patterns for every hour, whose hour is `*` or a step of it, start at both).
  schedule "office-hours" {
    # When it begins: minute, hour, day of the month, month, day of the week. Takes a cron pattern
    # of five fields such as "0 8 * * MON-FRI".
    start = "0 8 * * MON-FRI"

    # The time zone whose clocks `start` means. Takes a time zone such as "Europe/Berlin".
    zone = "UTC"

    # How long it lasts from each start, in elapsed time: nine hours are nine hours on the day that
    # clocks change, too. Takes a duration from "1m" to "31d".
    for = "9h"

    # The least capacity meanwhile, from `capacity.min` to `capacity.max`. Unset: `capacity.min`.
    # Takes a whole number from 1 to 10000.
    min = 6

    # The mean CPU utilisation to hold meanwhile, at most `target.cpu`: lower is more capacity.
    # Unset: `target.cpu`. Takes a share from "5%" to "95%".
    target = "65%"
  }

  # How capacity must be spread, so that what takes one pool does not take the service.
  diversification {
    # Over at least so many instance families, such as m5 and c6g. Takes a whole number from 2 to
    # 20.
    families = 2

    # The largest share of the fleet that one pool (an instance type in a zone) should hold. Judged
    # from 4 instances up. Takes a share from "5%" to "100%".
    max_pool_share = "60%"

    # The largest share of the fleet that one availability zone should hold. Judged from 4 instances
    # up. Takes a share from "5%" to "100%".
    max_zone_share = "75%"

    # How many instances an hour may be replaced to bring a fleet back that AWS let drift out of
    # these bounds. 0: none; victims are chosen by them all the same. Takes a whole number from 0 to
    # 60.
    repairs_per_hour = 0
  }

  # Instances that are never given back or replaced by choice, beside those that carry the tag
  # `muster:protected` = `true` and those that autoscalers run on. What AWS takes is replaced all
  # the same.
  protect {
    # These instances. Unset: none. Takes a list of instance ids, such as ["i-0abc123def4567890"].
    # instances = ["i-0abc123def4567890"]

    # Instances that carry any of these tags with that value. Unset: none. Takes a map from keys to
    # values, such as { Role = "primary" }.
    # tags = { Role = "primary" }
  }

  # How load gets onto new nodes: more of them help only if it does.
  workload {
    # `system`: Nomad system jobs run on every node. `service`: groups of Nomad service jobs, whose
    # count is scaled with the fleet. `spreads`: it spreads by itself, as workers on a queue do.
    # Unset: not known, which `check` warns of. Takes "system", "service" or "spreads".
    # kind = "service"

    # The groups that are scaled with the fleet; for `service` alone. Unset: none. Takes a list of
    # groups as "JOB/GROUP", such as ["web/frontend"].
    # groups = ["web/frontend"]

    # How many allocations of each group there are for each unit of the fleet that serves; for
    # `service` alone. Takes a whole number from 1 to 1000.
    per_unit = 1

    # The Nomad namespace of the groups. Takes a namespace such as "default".
    namespace = "default"
  }

  # How a node is emptied before it goes.
  drain {
    # Who empties a node: `nomad` drains it, `hook` runs what the `drain_hook` block says, `nobody`
    # leaves it to the instance's own shutdown. Takes "nobody", "nomad" or "hook".
    by = "nobody"

    # The longest that work may take to leave a node that is given back. Takes a duration from "0s"
    # to "1d".
    deadline = "5m"

    # Time kept back before the end that an interruption's notice gives. Takes a duration from "0s"
    # to "1m50s".
    margin = "15s"

    # Whether system jobs stay until the node goes. Takes `true` or `false`.
    ignore_system_jobs = true

    # Whether a node on which batch jobs run may be given back, or replaced for the spread or a
    # roll-out; `false` waits until they have ended. What AWS announces does not ask. Takes `true`
    # or `false`.
    interrupt_batch = true
  }

  # What is done about interruptions.
  interruption {
    # Whether a replacement is bought at the notice, not after the loss. Takes `true` or `false`.
    replace = true

    # What a rebalance recommendation leads to: `ignore` nothing, `cordon` no new work on the node,
    # `replace` a replacement before the notice comes, `by_risk` a replacement where its pool took
    # an instance back or had nothing to give within `avoid_pool`, else no new work. Takes "ignore",
    # "cordon", "replace" or "by_risk".
    rebalance = "cordon"

    # When the fleet itself buys in the place of an instance that is marked for interruption: AWS
    # does not say. `unknown`: the first interruption shows it, and may be replaced twice. What was
    # seen goes before what is said. Takes "unknown", "at_marking" or "at_death".
    fleet_buys = "unknown"

    # How long a pool that interrupted, or had nothing to give, is avoided: what is held against it
    # halves in this time. Takes a duration from "0s" to "1d".
    avoid_pool = "30m"

    # How often EC2 itself is asked which instances are marked for interruption or have maintenance
    # ahead: two calls each time, for all fleets of a region together. A safety net: agents and the
    # queue are quicker. Where there is neither, "30s" hears of an interruption in time and costs 4
    # calls a minute and region; at "15m" it is mostly heard of by the loss. Takes a duration from
    # "10s" to "1d".
    poll = "15m"
  }

  # What empties a node where `drain.by` is `hook`: a program, or an address.
  # drain_hook {
  #   # A program with its arguments; no shell is between. It learns the instance, the deadline and
  #   # the cause from MUSTER_INSTANCE, MUSTER_DEADLINE and MUSTER_CAUSE. When it exits with 0 the
  #   # node is empty. Unset: none. Takes a list of a program by its absolute path, then its
  #   # arguments, such as ["/usr/local/bin/empty-node", "--wait"].
  #   # command = ["/usr/local/bin/empty-node", "--wait"]
  #
  #   # An address that is sent the same as JSON by POST. 200 says that the node is empty, 202 that it
  #   # is not yet and must be asked again. Unset: none. Takes an address such as
  #   # "https://drain.example/v1/empty".
  #   # url = "https://drain.example/v1/empty"
  #
  #   # A file that holds a bearer token for `url`. Read again when it changes; never logged. Unset:
  #   # no token. Takes an absolute path such as "/run/secrets/drain".
  #   # token_file = "/run/secrets/drain"
  # }

  # On-demand capacity in place of spot capacity that does not come.
  on_demand {
    # The most units of on-demand capacity that stand in for spot, beyond the fleet's own on-demand
    # part. 0: none. Takes a whole number from 0 to 10000.
    fallback = 0

    # How long no spot pool must have given what was asked for, with the objective at risk. Takes a
    # duration from "1m" to "1d".
    after = "5m"

    # How long it is kept before spot is tried again. Takes a duration from "1m" to "1d".
    keep = "30m"

    # What an instance of a type costs on demand, in dollars an hour: EC2's interface tells spot
    # prices alone. `status` shows what stands in for spot with its cost by these. Unset: not known.
    # Takes a map from instance types to dollars an hour, such as { "m5.large" = 0.107 }, numbers
    # from 0.000001 to 10000.
    # prices = { "m5.large" = 0.107 }
  }

  # How another version of the launch template reaches the fleet, once `rollout start` orders it.
  rollout {
    # How many instances are replaced at once. Above `capacity.max` no more than `capacity.surge`
    # units of them. Takes a whole number from 1 to 10000.
    surge = 1

    # How many units less than are wanted may serve meanwhile. 0: an instance is emptied when
    # another is ready in its place. Takes a whole number from 0 to 10000.
    unavailable = 0

    # The share of the instances that is replaced first and watched; at least one. "0%": none. Takes
    # a share from "0%" to "100%".
    canary = "10%"

    # How long that share must run without trouble before the others follow. Takes a duration from
    # "0s" to "7d".
    canary_for = "10m"

    # The longest that a new instance may take from its launch until work can be placed on it.
    # Unset: twice `boot`. Takes a duration from "10s" to "1d".
    # ready_within = "10m"

    # What halts it, and makes the fleet launch what it launched before: a new instance that is
    # `not_ready` in time, one that is `unhealthy` by EC2's status checks, a version of which
    # nothing could be launched (`launch_failed`), an `alarm` of `alarms` that is off. Takes a list
    # of troubles: "not_ready", "unhealthy", "launch_failed" or "alarm".
    pause_on = ["not_ready", "unhealthy", "launch_failed", "alarm"]

    # Alarms of CloudWatch in the fleet's region, of single metrics or composite, that are watched
    # meanwhile; at most 100. One that is off before, or does not exist, keeps a roll-out from
    # beginning. Unset: none. Takes a list of names of alarms, such as ["web-5xx"].
    # alarms = ["web-5xx"]
  }
}
