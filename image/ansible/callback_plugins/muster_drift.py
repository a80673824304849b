"""Counts what roles had to change on each host, for the tasks that come after them.

A playbook cannot see by itself what it has changed. The fact `drift_mended` is the list of those tasks, of roles alone: what the
playbook says of the node is no drift, and what a handler does follows from one.
"""

from ansible.playbook.handler import Handler
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: muster_drift
type: aggregate
short_description: Tell tasks what was changed before them
description:
  - Keeps the fact C(drift_mended), the list of a host's tasks of roles that have changed something.
"""


class CallbackModule(CallbackBase):
    """What was changed, by host."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "muster_drift"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._mended = {}
        self._variables = None

    def v2_playbook_on_play_start(self, play):
        self._variables = play.get_variable_manager()

    def v2_runner_on_ok(self, result):
        task = result.task if hasattr(result, "task") else result._task
        host = result.host if hasattr(result, "host") else result._host
        values = result.result if hasattr(result, "result") else result._result
        if not values.get("changed") or task._role is None or isinstance(task, Handler):
            return
        mended = self._mended.setdefault(host.get_name(), [])
        mended.append(task.get_name())
        if self._variables is not None:
            self._variables.set_nonpersistent_facts(host.get_name(), {"drift_mended": list(mended)})
