"""The errors that people see; each message names the thing and the remedy.

No stage's own errors belong here unless the command line treats them differently.
"""


class PipelineError(Exception):
    """The work failed for a reason that its message explains (exit code 1)."""


class UsageError(PipelineError):
    """The command or a setting is wrong and the message says how to mend it (exit code 2)."""
