"""Runs modules in a root file system that nothing has booted, by chroot."""

import os
import shutil
import subprocess

from ansible.errors import AnsibleConnectionFailure, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = r"""
name: rootfs
short_description: Run tasks in a root file system
description:
  - Runs tasks in a directory that holds a root file system, by C(chroot), as root.
  - Whoever calls sees to C(/proc), C(/dev) and C(/run) in it; C(image/bake-rootfs) does.
author: muster
options:
  root:
    description: The directory.
    default: inventory_hostname
    type: path
    vars:
      - name: inventory_hostname
      - name: ansible_host
"""


class Connection(ConnectionBase):
    """A root file system, as something that tasks are run on."""

    transport = "rootfs"
    has_pipelining = True
    has_tty = False

    def _connect(self):
        if not os.path.isdir(os.path.join(self._root, "usr")):
            raise AnsibleConnectionFailure(f"{self._root} holds no root file system")
        self._connected = True
        return self

    @property
    def _root(self):
        return self.get_option("root")

    def _inside(self, path):
        """Where a file of the root file system is; a path that leads out of it is refused."""
        place = os.path.normpath(os.path.join(self._root, path.lstrip("/")))
        parent = os.path.realpath(os.path.dirname(place))
        root = os.path.realpath(self._root)
        if parent != root and not parent.startswith(root + os.sep):
            raise AnsibleConnectionFailure(f"{path} leads out of {self._root}")
        return place

    def exec_command(self, cmd, in_data=None, sudoable=True):
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        environment = {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SYSTEMD_OFFLINE": "1",
        }
        # A proxy that the mirror is reached through.
        for name in ("http_proxy", "https_proxy", "no_proxy"):
            if name in os.environ:
                environment[name] = os.environ[name]
        ended = subprocess.run(
            ["chroot", self._root, "/bin/sh", "-c", cmd],
            input=in_data,
            stdin=None if in_data is not None else subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=environment,
        )
        return ended.returncode, ended.stdout, ended.stderr

    def put_file(self, in_path, out_path):
        super().put_file(in_path, out_path)
        if not os.path.exists(in_path):
            raise AnsibleFileNotFound(f"{in_path} does not exist")
        shutil.copyfile(in_path, self._inside(out_path))

    def fetch_file(self, in_path, out_path):
        super().fetch_file(in_path, out_path)
        shutil.copyfile(self._inside(in_path), out_path)

    def close(self):
        super().close()
        self._connected = False
