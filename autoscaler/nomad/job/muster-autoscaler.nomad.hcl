# muster-autoscaler as a Nomad job: two allocations on different nodes, one of which leads.
#
#   nomad job run -var image=registry.internal/muster-autoscaler:0.1.0 -var policy="$(cat web.hcl)" -var node_pool=core \
#                 -var queue_url=https://sqs.eu-west-1.amazonaws.com/123456789012/muster muster-autoscaler.nomad.hcl
#
# Its rights in Nomad, Consul and AWS come from its workload identities; README.md beside this file says how each is
# set up, once.

variable "datacenters" {
  description = "Where it may run."
  type        = list(string)
  default     = ["*"]
}

variable "node_pool" {
  description = "The node pool that it runs in: one of nodes that it does not scale, of their own. Nodes that name no pool are in `default`, the scaled ones among them, so that is none."
  type        = string
  validation {
    condition     = !contains(["", "all", "default"], var.node_pool)
    error_message = "Name a node pool that holds no node of a scaled fleet: neither all nor default."
  }
}

variable "allow_on_scaled_fleets" {
  description = "Whether it may run on spot nodes of its pool, and so on a fleet that it scales. It never removes its own node."
  type        = bool
  default     = false
}

variable "driver" {
  description = "docker: the image below. exec, raw_exec: the plain program, from `binary` or already on the node."
  type        = string
  default     = "docker"
  validation {
    condition     = contains(["docker", "exec", "raw_exec"], var.driver)
    error_message = "The driver is docker, exec or raw_exec."
  }
}

variable "image" {
  description = "The image, where the driver is docker."
  type        = string
  default     = "muster-autoscaler:latest"
}

variable "binary" {
  description = "Where the program is fetched from (an artifact's source), where the driver is not docker. Empty: it is on the node's PATH."
  type        = string
  default     = ""
}

variable "command" {
  description = "The program on the node, where `binary` is empty."
  type        = string
  default     = "muster-autoscaler"
}

variable "policy" {
  description = "The policies, as the text of one HCL file."
  type        = string
}

variable "region" {
  description = "The AWS region of policies that name none."
  type        = string
  default     = "eu-west-1"
}

variable "consul_address" {
  description = "Address of the node's own Consul agent."
  type        = string
  default     = "http://127.0.0.1:8500"
}

variable "role_arn" {
  description = "The AWS role that the job's identity assumes (AssumeRoleWithWebIdentity). Empty: the node's own."
  type        = string
  default     = ""
}

variable "queue_url" {
  description = "The SQS queue that EventBridge feeds. Empty: none."
  type        = string
  default     = ""
}

variable "port" {
  description = "Where each allocation listens on its node. 0: at a port that Nomad chooses, which Consul knows."
  type        = number
  default     = 0
}

variable "tls_role" {
  description = "Vault's PKI role, as MOUNT/issue/ROLE, for the certificate that nodes are met with. Empty: plain HTTP, for labs."
  type        = string
  default     = ""
}

variable "identity_certificates" {
  description = "AWS's RSA-2048 certificates for instance identity documents, as PEM text: nodes prove who they are with them. Empty: they do not."
  type        = string
  default     = ""
}

variable "identity_accounts" {
  description = "The AWS accounts whose instances may identify; with `identity_certificates` at least one."
  type        = list(string)
  default     = []
}

variable "shared_node_tokens" {
  description = "Whether the allocations take each other's node tokens; with `identity_certificates`. The key is `node_token_key` of the Nomad variable nomad/jobs/muster-autoscaler, which must be there. Otherwise each makes its own, and a node identifies with each."
  type        = bool
  default     = false
}

variable "extra_args" {
  description = "Further arguments of `muster-autoscaler run`."
  type        = list(string)
  default     = []
}

variable "cpu" {
  description = "MHz. One fleet takes some 1 % of a core, a thousand fleets a fifth of one."
  type        = number
  default     = 200
}

variable "memory" {
  description = "MiB. One fleet takes 25, a thousand fleets 100; the rest is for backtests that nobody runs here."
  type        = number
  default     = 128
}

job "muster-autoscaler" {
  type        = "service"
  datacenters = var.datacenters
  node_pool   = var.node_pool
  priority    = 80

  # One leads, one stands by with everything in view: it acts within seconds of the leader's death.
  group "autoscaler" {
    count = 2

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    dynamic "constraint" {
      for_each = var.allow_on_scaled_fleets ? [] : ["spot"]
      content {
        attribute = "${attr.platform.aws.instance-life-cycle}"
        operator  = "!="
        value     = constraint.value
      }
    }

    # A new version comes up beside the two, is healthy, and only then do the old ones go: the leader hands over when
    # it is told to stop.
    update {
      max_parallel      = 1
      canary            = 1
      auto_promote      = true
      auto_revert       = true
      health_check      = "checks"
      min_healthy_time  = "10s"
      healthy_deadline  = "3m"
      progress_deadline = "10m"
    }

    # A node that goes silent keeps its allocation for as long as a leader may be frozen: the lock decides who acts.
    disconnect {
      lost_after = "30s"
      replace    = true
    }

    restart {
      attempts = 3
      interval = "5m"
      delay    = "5s"
      mode     = "delay"
    }

    migrate {
      max_parallel     = 1
      min_healthy_time = "10s"
    }

    # The journal: what is learned survives a restart on the same node. What must survive the node is in Consul.
    ephemeral_disk {
      size    = 600
      sticky  = true
      migrate = true
    }

    network {
      mode = "host"
      port "http" {
        static = var.port
      }
    }

    service {
      name = "muster-autoscaler"
      port = "http"
      # By `http` the nodes' agents learn that it speaks no TLS.
      tags = concat(["metrics"], var.tls_role == "" && !contains(var.extra_args, "--tls-certificate") ? ["http"] : [])

      check {
        name     = "alive"
        type     = "http"
        path     = "/v1/health"
        protocol = var.tls_role == "" ? "http" : "https"
        # The agent of the node need not know who has signed it.
        tls_skip_verify = true
        interval        = "5s"
        timeout         = "2s"
      }

      check {
        name            = "ready"
        type            = "http"
        path            = "/v1/ready"
        protocol        = var.tls_role == "" ? "http" : "https"
        tls_skip_verify = true
        interval        = "5s"
        timeout         = "2s"
      }
    }

    task "autoscaler" {
      driver = var.driver

      config {
        image        = var.driver == "docker" ? var.image : null
        network_mode = var.driver == "docker" ? "host" : null
        command      = var.driver == "docker" ? null : (var.binary == "" ? var.command : "local/muster-autoscaler")
        args = concat([
          "run",
          "--policy", "${NOMAD_TASK_DIR}/policies",
          "--state", "${NOMAD_ALLOC_DIR}/data/muster",
          "--listen", "${NOMAD_ADDR_http}",
          "--region", var.region,
          # The task's own Nomad API: its identity is its token, and no address or certificate is configured.
          "--nomad-address", "unix://${NOMAD_SECRETS_DIR}/api.sock",
          "--nomad-token-file", "${NOMAD_SECRETS_DIR}/nomad_token",
          "--consul-address", var.consul_address,
          "--consul-token-file", var.driver == "exec" ? "${NOMAD_SECRETS_DIR}/consul.token" : "${NOMAD_SECRETS_DIR}/consul_token",
          ],
          var.queue_url == "" ? [] : ["--queue-url", var.queue_url],
          var.tls_role == "" ? [] : [
            "--tls-certificate", "${NOMAD_SECRETS_DIR}/tls/bundle.pem",
            "--tls-key", "${NOMAD_SECRETS_DIR}/tls/bundle.pem",
          ],
          # The node's address is reached by others: who runs it without TLS has said so by naming no role.
          var.tls_role == "" && !contains(var.extra_args, "--tls-certificate") ? ["--insecure-http"] : [],
          var.identity_certificates == "" ? [] : ["--identity-certificates", "${NOMAD_TASK_DIR}/identity.pem"],
          flatten([for account in var.identity_accounts : ["--identity-account", account]]),
          var.shared_node_tokens ? ["--identity-key-file", "${NOMAD_SECRETS_DIR}/node-token.key"] : [],
        var.extra_args)
      }

      dynamic "artifact" {
        for_each = var.driver == "docker" || var.binary == "" ? [] : [var.binary]
        content {
          source      = artifact.value
          destination = "local/muster-autoscaler"
          mode        = "file"
        }
      }

      # For Nomad: written to a file, renewed by Nomad, read again when it changes.
      identity {
        file = true
      }

      # For AWS: exchanged for credentials of `role_arn` by the SDK itself.
      identity {
        name        = "aws"
        aud         = ["sts.amazonaws.com"]
        file        = true
        ttl         = "1h"
        change_mode = "noop"
      }

      # For Consul: the lock, the ledger and the service.
      consul {}

      # Nomad writes that token for root alone, and `exec` runs its task as nobody.
      dynamic "template" {
        for_each = var.driver == "exec" ? ["consul.token"] : []
        content {
          data        = "{{ env \"CONSUL_TOKEN\" }}"
          destination = "secrets/${template.value}"
          perms       = "0400"
          uid         = 65534
          gid         = 65534
          change_mode = "noop"
        }
      }

      dynamic "vault" {
        for_each = var.tls_role == "" ? [] : ["muster-autoscaler"]
        content {
          role        = vault.value
          change_mode = "noop"
        }
      }

      template {
        data        = var.policy
        destination = "local/policies/policies.hcl"
        # The program watches its policies itself, and keeps the old ones when new ones are wrong.
        change_mode = "noop"
        # A policy holds no templates, and what looks like one in it is left alone.
        left_delimiter  = "[[[["
        right_delimiter = "]]]]"
      }

      dynamic "template" {
        for_each = var.tls_role == "" ? [] : [var.tls_role]
        content {
          # For its address, too: agents are told that by Consul, and go there.
          data        = "{{ with pkiCert \"${template.value}\" \"common_name=muster-autoscaler.service.consul\" (printf \"ip_sans=%s\" (env \"NOMAD_IP_http\")) \"ttl=72h\" }}{{ .Key }}\n{{ .Cert }}\n{{ .CA }}{{ end }}"
          destination = "secrets/tls/bundle.pem"
          perms       = "0400"
          uid         = var.driver == "exec" ? 65534 : null
          gid         = var.driver == "exec" ? 65534 : null
          change_mode = "noop"
        }
      }

      dynamic "template" {
        for_each = var.shared_node_tokens ? ["nomad/jobs/muster-autoscaler"] : []
        content {
          # One key a line; the first makes tokens. A job may read the variables of its own path.
          data        = "{{ with nomadVar \"${template.value}\" }}{{ .node_token_key }}{{ end }}\n"
          destination = "secrets/node-token.key"
          perms       = "0400"
          uid         = var.driver == "exec" ? 65534 : null
          gid         = var.driver == "exec" ? 65534 : null
          change_mode = "noop"
        }
      }

      dynamic "template" {
        for_each = var.identity_certificates == "" ? [] : [var.identity_certificates]
        content {
          data            = template.value
          destination     = "local/identity.pem"
          change_mode     = "noop"
          left_delimiter  = "[[[["
          right_delimiter = "]]]]"
        }
      }

      # A variable that is set and empty is not the same as none.
      env = merge(
        {
          AWS_REGION = var.region
        },
        var.role_arn == "" ? {} : {
          AWS_ROLE_ARN                = var.role_arn
          AWS_ROLE_SESSION_NAME       = "${NOMAD_ALLOC_ID}"
          AWS_WEB_IDENTITY_TOKEN_FILE = "${NOMAD_SECRETS_DIR}/nomad_aws.jwt"
        },
      )

      # The leader hands over within a second; a call that is under way is waited for.
      kill_signal  = "SIGTERM"
      kill_timeout = "20s"

      resources {
        cpu    = var.cpu
        memory = var.memory
      }
    }
  }
}
