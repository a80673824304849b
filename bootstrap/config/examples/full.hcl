# A configuration that says every default, with what it means. What has no default stands behind `#`.
# Generated; the smallest useful configuration is in minimal.hcl.

# How the instance learns which one it is. From files alone: it comes before everything else.
identity {
  # The metadata services to ask, one after the other; only version 2 (IMDSv2) is spoken, and no
  # proxy. Takes a list of addresses such as "http://169.254.169.254".
  endpoints = ["http://169.254.169.254", "http://[fd00:ec2::254]"]

  # PEM files with the certificates of AWS for the instance identity documents of this region.
  # Unset, nothing is proved and the step fails. Unset: none. Takes a list of absolute paths.
  certificates = ["/etc/muster/aws-identity.pem"]

  # How long a token of the metadata service is asked for; another one is fetched before that. Takes
  # a duration from "1s" to "6h".
  token_lifetime = "6h"
}

# Whether the clock is right: what is signed with a wrong one is refused. From files alone.
time {
  # How far the clock may be from that of the metadata service, which answers with its own. Takes a
  # duration from "2s" to "5m".
  most_skew = "10s"

  # The unit that sets the clock: restarted while it is wrong. One of `host`'s `units`. Unset:
  # nothing is restarted. Takes a unit such as "chrony.service".
  # unit = "chrony.service"
}

# Where in SSM Parameter Store more of this configuration is. Each parameter of the path that is no
# SecureString holds a fragment of HCL, as a file of `conf.d` does; they are read in the order of
# their names. From files and tags.
parameters {
  # The path. Unset: there are none. Takes a path such as "/muster/web".
  # path = "/muster/web"

  # Where SSM is. Unset: where AWS has it in this region. Takes an address such as
  # "https://host.example.com:8200".
  # endpoint = "https://ssm.eu-west-1.amazonaws.com"
}

# A token of Vault or OpenBao, and files that are made of its secrets, kept fresh for as long as the
# node lives. One of `aws`, `approle` and `jwt` says how the node logs in. Unset: none.
# vault {
#   # Where it is. Takes an address such as "https://host.example.com:8200".
#   address = "https://vault.example.com:8200"
#
#   # Who may have signed its certificate, in PEM. Unset: those that the host trusts. Takes an
#   # absolute path.
#   # ca_file = "/etc/muster/ca.pem"
#
#   # The namespace. Unset: none. Takes a namespace such as "team/web".
#   # namespace = "team/web"
#
#   # A client's certificate, in PEM. Unset: none. Takes an absolute path.
#   # cert_file = "/etc/muster/client.pem"
#
#   # Its key, in PEM. Unset: none. Takes an absolute path.
#   # key_file = "/etc/muster/client.key"
#
#   # Where the token is left for others of the agent's user (mode 0600). Has to be on tmpfs. Either
#   # this or `file`. Unset: nowhere. Takes an absolute path.
#   # token_file = "/run/muster/vault-token"
#
#   # The `file` block of `host` that the token is left in for anybody else, with its owner and mode.
#   # Has to be on tmpfs. Unset: by `token_file`. Takes the name of a `file` block of `host`.
#   # file = "vault-token"
#
#   # How often secrets without a lease are read again. Takes a duration from "5s" to "1d".
#   refresh = "5m"
#
#   # When the token is revoked, and with it whatever was leased by it. `shutdown`: when the instance
#   # shuts down; an agent that is restarted takes nothing from those that use its secrets. `stop`:
#   # whenever the agent ends. `never`: it lapses by itself. Takes "shutdown", "stop" or "never".
#   revoke = "shutdown"
#
#   # Login by AWS IAM: a question to STS that the instance's role has signed. OpenBao has no such
#   # method.
#   # aws {
#   #   # The role in Vault. Takes a role such as "node".
#   #   role = "node"
#   #
#   #   # Where the method is mounted. Takes a path beneath `auth/`, such as "aws".
#   #   mount = "aws"
#   #
#   #   # What Vault has as `iam_server_id_header_value`: it binds the signature to this Vault. Unset:
#   #   # nothing binds it. Takes a text such as "vault.example.com".
#   #   # server_id = "vault.example.com"
#   #
#   #   # The region that is signed for: that of the STS which Vault asks. Unset: the global endpoint,
#   #   # us-east-1. Takes a region such as "eu-west-1".
#   #   # region = "eu-west-1"
#   #
#   #   # The address that is signed for. Unset: that of the region. Takes an address such as
#   #   # "https://host.example.com:8200".
#   #   # sts_endpoint = "https://sts.eu-west-1.amazonaws.com"
#   # }
#
#   # Login by AppRole.
#   # approle {
#   #   # A file with the role's id. Takes an absolute path.
#   #   role_id_file = "/etc/muster/role-id"
#   #
#   #   # A file with the secret id, or with the token that it is wrapped in. Takes an absolute path.
#   #   secret_id_file = "/run/muster/secret-id"
#   #
#   #   # Where the method is mounted. Takes a path beneath `auth/`, such as "aws".
#   #   mount = "approle"
#   #
#   #   # What has to have made the wrapping token: checked before it is used. Unset: the file holds the
#   #   # secret id itself. Takes a path such as "auth/approle/role/node/secret-id".
#   #   # creation_path = "auth/approle/role/node/secret-id"
#   #
#   #   # Where a secret id is kept once it was unwrapped, so that an agent that is restarted can log
#   #   # in. Has to be on tmpfs. Unset: in memory alone. Takes an absolute path.
#   #   # keep_file = "/run/muster/unwrapped-secret-id"
#   # }
#
#   # Login by a JSON Web Token that somebody else has signed.
#   # jwt {
#   #   # The role in Vault. Takes a role such as "node".
#   #   role = "node"
#   #
#   #   # A file with the token, read anew for each login. Takes an absolute path.
#   #   file = "/run/muster/identity.jwt"
#   #
#   #   # Where the method is mounted. Takes a path beneath `auth/`, such as "aws".
#   #   mount = "jwt"
#   # }
#
#   # A file that is made of secrets, by a template in the manner of Jinja: see docs/vault.md.
#   template "nomad" {
#     # The template. Takes an absolute path.
#     source = "/etc/muster/templates/nomad-token"
#
#     # Where it is rendered to, for the agent's own user. Either this or `file`. Unset: by `file`.
#     # Takes an absolute path.
#     path = "/run/muster/secrets/nomad-token"
#
#     # The `file` block of `host` that it is rendered to, for anybody else. Unset: by `path`. Takes
#     # the name of a `file` block of `host`.
#     # file = "registry"
#
#     # The mode of `path`. Takes a mode in octal, such as "0640".
#     mode = "0600"
#
#     # The units that are reloaded when it has changed; of `host`'s `units`. Unset: none. Takes a
#     # list of units such as "nomad.service".
#     # reload = ["nomad.service"]
#
#     # Whether it may be on a disk; else only tmpfs will do. Takes `true` or `false`.
#     on_disk = false
#
#     # Whether it is removed when the token is revoked. Takes `true` or `false`.
#     remove_at_stop = false
#   }
# }

# The post-configuration: AWX is asked by its provisioning callback to run a job template on this
# node, and its job is waited for. Unset: none.
# awx {
#   # AWX. Takes an address such as "https://host.example.com:8200".
#   address = "https://awx.example.com"
#
#   # The number of the job template. Takes a whole number from 1 to 4294967295.
#   template = 7
#
#   # A file with the template's host config key. Unset: by `key_parameter`. Takes an absolute path.
#   # key_file = "/run/muster/secrets/awx-key"
#
#   # A SecureString of SSM with the template's host config key. Unset: by `key_file`. Takes a
#   # parameter such as "/muster/web/awx-key".
#   # key_parameter = "/muster/web/awx-key"
#
#   # A file with an API token (scope `read`) to watch the job with. Without one, the playbook's last
#   # task says that it is done: it writes JOB.json into `/var/lib/muster/awx`, readable for the user
#   # `muster`. Unset: the playbook says when it is done. Takes an absolute path.
#   # token_file = "/run/muster/secrets/awx-token"
#
#   # Who may have signed its certificate, in PEM. Unset: those that the host trusts. Takes an
#   # absolute path.
#   # ca_file = "/etc/muster/ca.pem"
#
#   # What the job is given beside `instance_id`. The template has to prompt for variables. Unset:
#   # none. Takes a map from names of variables to their values.
#   # extra_vars = { "role" = "web" }
#
#   # The callbacks of nodes that boot together are spread over this time. Takes a duration from "0s"
#   # to "10m".
#   jitter = "20s"
#
#   # How often the job is asked for again, spread over the fleet, to find and mend drift. "0s":
#   # never. Takes a duration from "0s" to "30d".
#   drift = "6h"
#
#   # How many such jobs in a row may fail before it counts as a failure of the step. Takes a whole
#   # number from 1 to 100.
#   drift_failures = 3
# }

# The exporter of this node's metrics: installed where it is missing, given its arguments, started,
# and believed when what it answers is about this node. Unset: none.
# monitoring {
#   # Where it answers. Consul tells others of it, so that it should be where they reach it. Unset:
#   # the instance's private address, port 9100, `/metrics`. Takes an address such as
#   # "http://10.0.0.7:9100/metrics".
#   # address = "http://10.0.0.7:9100/metrics"
#
#   # The unit that runs it. Takes a unit such as "consul.service".
#   unit = "prometheus-node-exporter.service"
#
#   # What is installed where it is missing: a `package` block of `host`. Unset: it is in the image.
#   # Takes the name of a `package` block of `host`.
#   # package = "node_exporter"
#
#   # The file that its arguments stand in. Takes the name of a `file` block of `host`.
#   arguments_file = "node_exporter"
#
#   # The variable of that file. Takes a name of capital letters and `_`.
#   arguments_variable = "ARGS"
#
#   # Its arguments. For node_exporter where it listens, of `address`, and the directory of the
#   # agent's own metrics, `/run/muster/metrics`, are added unless they stand here. Unset: none. Takes
#   # a list of arguments without spaces and quotes.
#   # arguments = ["--collector.systemd"]
#
#   # The series that it must have. Takes a list of names of metrics.
#   series = ["node_cpu_seconds_total"]
#
#   # The series whose label `nodename` must be this node's host name. Takes the name of a metric.
#   own_series = "node_uname_info"
# }

# The Consul agent of this node: configured, started, joined, and told of this node. Unset: none.
# consul {
#   # Where the agent of this node answers. Takes an address such as "https://host.example.com:8200".
#   address = "http://127.0.0.1:8500"
#
#   # A file with the token: node:write on this node, service:write on its services. Unset: the
#   # anonymous token. Takes an absolute path.
#   # token_file = "/run/muster/secrets/consul-token"
#
#   # Who may have signed its certificate, in PEM. Unset: those that the host trusts. Takes an
#   # absolute path.
#   # ca_file = "/etc/muster/ca.pem"
#
#   # The unit that runs it. Takes a unit such as "consul.service".
#   unit = "consul.service"
#
#   # The file that its configuration is written to. Takes the name of a `file` block of `host`.
#   file = "consul"
#
#   # Where it keeps its state: emptied where that is another instance's. Takes the name of a
#   # `directory` block of `host`.
#   directory = "consul"
#
#   # The datacenter. Takes a datacenter such as "dc1".
#   datacenter = "dc1"
#
#   # Whom it joins, as `retry_join` takes them. Unset: as the image has it. Takes a list of
#   # addresses, or such as "provider=aws tag_key=consul tag_value=server".
#   # join = ["provider=aws tag_key=consul tag_value=server"]
#
#   # More of its configuration. What is said above stands over it. Unset: nothing. Takes a JSON
#   # object as a text.
#   # extra = "{\"leave_on_terminate\": true}"
#
#   # The service that stands for this node; its check passes once the node is ready. Takes a service
#   # such as "muster-node".
#   service = "muster-node"
#
#   # Its tags. Unset: none. Takes a list of tags.
#   # tags = ["spot"]
#
#   # How long its check stands without being fed. Takes a duration from "10s" to "1h".
#   ttl = "30s"
# }

# The Nomad client of this node: configured in a pool where no job is placed, started, proved, and
# only then moved to the pool that it works in. Unset: none.
# nomad {
#   # Where the client of this node answers. Takes an address such as "https://host.example.com:8200".
#   address = "http://127.0.0.1:4646"
#
#   # A file with the token: agent:read and node:read. Unset: the anonymous token. Takes an absolute
#   # path.
#   # token_file = "/run/muster/secrets/nomad-token"
#
#   # Who may have signed its certificate, in PEM. Unset: those that the host trusts. Takes an
#   # absolute path.
#   # ca_file = "/etc/muster/ca.pem"
#
#   # The unit that runs it. Takes a unit such as "consul.service".
#   unit = "nomad.service"
#
#   # The file that its configuration is written to. Takes the name of a `file` block of `host`.
#   file = "nomad"
#
#   # Where it keeps its state: emptied where that is another instance's. Takes the name of a
#   # `directory` block of `host`.
#   directory = "nomad"
#
#   # The datacenter. Takes a datacenter such as "dc1".
#   datacenter = "dc1"
#
#   # The servers. Unset: found through Consul. Takes a list of addresses such as
#   # "nomad.example.com:4647".
#   # servers = ["nomad.example.com:4647"]
#
#   # The pool that it works in. Takes a node pool such as "web".
#   node_pool = "default"
#
#   # The pool that it is in until it is proved, without room for anything. No job may name it. Takes
#   # a node pool such as "muster-proving".
#   proving_pool = "muster-proving"
#
#   # Its class. Unset: none. Takes a class such as "spot".
#   # node_class = "spot"
#
#   # The drivers that must be healthy before work may land. Takes a list of drivers such as "docker".
#   drivers = ["docker"]
#
#   # Its metadata, beside `muster_image`, `muster_lifecycle`, `muster_pool` and `muster_ready`, which
#   # is `true` once it is proved. Unset: none. Takes a map from names to values.
#   # meta = { "rack" = "a" }
#
#   # More of its configuration. What is said above stands over it. Unset: nothing. Takes a JSON
#   # object as a text.
#   # extra = "{\"plugin\": {}}"
#
#   # The private registry that its work comes from: its credentials are tried before work may land.
#   # registry {
#   #   # The image whose manifest is fetched as a proof. Takes an image with its registry and tag, such
#   #   # as "registry.example.com/app:1".
#   #   image = "registry.example.com/app:1"
#   #
#   #   # Docker's `config.json` with the credentials, as Nomad's `docker` driver reads it. Takes an
#   #   # absolute path.
#   #   auth_file = "/run/muster/secrets/docker.json"
#   #
#   #   # Who may have signed its certificate, in PEM. Unset: those that the host trusts. Takes an
#   #   # absolute path.
#   #   # ca_file = "/etc/muster/ca.pem"
#   #
#   #   # Whether it is asked by HTTP without TLS; for a laboratory. Takes `true` or `false`.
#   #   insecure = false
#   # }
# }

# How everybody learns that the node is good, beside `/run/muster/ready`, systemd, Nomad's pool and
# metadata, and Consul's check.
ready {
  # The tag that the instance gives itself, with the value `ready`. Its role needs ec2:CreateTags on
  # itself. Unset: none is given. Takes a tag's key such as "muster:state".
  # tag = "muster:state"

  # Where EC2 is. From files alone. Unset: where AWS has it in this region. Takes an address such as
  # "https://host.example.com:8200".
  # ec2_endpoint = "https://ec2.eu-west-1.amazonaws.com"
}

# What is watched after the boot.
watch {
  # How often every step is looked at again; what has decayed is mended. Takes a duration from "10s"
  # to "1d".
  verify = "5m"

  # How often the metadata service is asked whether this instance is to go. Takes a duration from
  # "200ms" to "5s".
  notices = "1s"

  # How often CPU and pressure are sampled for the autoscaler. Takes a duration from "1s" to "1m".
  samples = "10s"

  # After so many nodes of one image in a row that ended themselves for a failed step, the next one
  # stays up and says so. Takes a whole number from 1 to 100.
  breaker = 3

  # The autoscaler that is told of notices and load.
  # autoscaler {
  #   # The fleet, as the autoscaler's policy names it. Takes a name such as "web".
  #   fleet = "web"
  #
  #   # Where it is. Either this or `service`; all of them are told. Unset: found by `service`. Takes
  #   # a list of addresses such as "https://autoscaler.example.com:7575".
  #   # addresses = ["https://autoscaler.example.com:7575"]
  #
  #   # The service in Consul whose healthy instances are told. Unset: by `addresses`. Takes a service
  #   # such as "muster-autoscaler".
  #   # service = "muster-autoscaler"
  #
  #   # Who may have signed its certificate, in PEM. Unset: those that the host trusts. Takes an
  #   # absolute path.
  #   # ca_file = "/etc/muster/ca.pem"
  #
  #   # A file with a token that all nodes share; for a laboratory, whose instances AWS has not
  #   # signed. Unset: the instance proves itself by its identity document. Takes an absolute path.
  #   # token_file = "/etc/muster/autoscaler.token"
  # }
}

# How a step is repeated, and what it means that it cannot be done. What is not said is as the step
# has it.
step "awx" {
  # The longest that one attempt may take. Takes a duration from "1s" to "1d".
  attempt = "1h"

  # The pause after the first failure. Each one after it is twice as long, and half of each is by
  # chance. Takes a duration from "1s" to "10m".
  pause = "1s"

  # The longest pause. Takes a duration from "1s" to "1d".
  most_pause = "1m"

  # The time from its beginning within which it has to be done, all attempts and pauses together.
  # Takes a duration from "1s" to "7d".
  deadline = "2h"

  # What it means that it is not done by then, or cannot be. `retry`: it is tried on, those that
  # need it wait. `ignore`: those that need it go on. `quarantine`: the node is kept, without work.
  # `unhealthy`: as quarantine, and Consul's check says so. `terminate`: the instance is powered
  # off, unless the breaker is open. Takes "retry", "ignore", "quarantine", "unhealthy" or
  # "terminate".
  on_failure = "quarantine"
}

# What is done as root on the agent's behalf, and no more: the agent itself has no rights. From
# files of the image alone; what parameters and tags say of it is refused.
host {
  # The units that may be started, stopped, restarted and reloaded. Unset: none. Takes a list of
  # units such as "consul.service".
  units = ["consul.service", "nomad.service", "prometheus-node-exporter.service"]

  # Whether the instance may be powered off: what a step whose failure is to `terminate` needs. The
  # launch template's shutdown behaviour has to be `terminate`. Takes `true` or `false`.
  power_off = false

  # A file that may be written: `consul` and `nomad` are their configurations, `node_exporter` its
  # arguments.
  file "consul" {
    # Where it is. Takes an absolute path.
    path = "/etc/consul.d/muster.json"

    # Its owner. Takes a user's name or number.
    owner = "root"

    # Its group. Takes a group's name or number.
    group = "root"

    # Its mode. Takes a mode in octal, such as "0640".
    mode = "0600"
  }

  # What is in the image and may be installed, where it is what it should be: a Debian package, or a
  # program.
  package "node_exporter" {
    # The file. Takes an absolute path.
    path = "/usr/share/muster/node-exporter.deb"

    # Where the file is put, for root to write and everybody to run: it is a program. Unset: it is a
    # Debian package. Takes an absolute path.
    # program = "/usr/local/bin/node_exporter"

    # Its version. Takes a version such as "1.5.0-1".
    version = "1.5.0-1"

    # Its SHA-256. Takes 64 hexadecimal digits.
    sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  }

  # A directory that may be emptied where what it holds is another instance's: `consul` and `nomad`
  # are where these keep their state.
  directory "consul" {
    # Where it is. Takes an absolute path, at least two deep.
    path = "/var/lib/consul"
  }
}
