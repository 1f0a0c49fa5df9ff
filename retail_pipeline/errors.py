"""The errors that people see; each message names the thing and the remedy.

No stage's own errors belong here unless the command line treats them differently.
"""

from typing import Final

FAILED_ASSETS: Final = "failed_assets"
"""Metadata of a Dagster `Failure` of a step that makes many assets: those that failed, by their key
as text, with the reason."""


class PipelineError(Exception):
    """The work failed for a reason that its message explains (exit code 1)."""


class UnavailableError(PipelineError):
    """Something that is needed is away; the same attempt may work in a moment."""


class UsageError(PipelineError):
    """The command or a setting is wrong and the message says how to mend it (exit code 2)."""


class StoppedError(PipelineError):
    """The work was stopped by somebody, by Ctrl-C or SIGTERM (exit code 130)."""
