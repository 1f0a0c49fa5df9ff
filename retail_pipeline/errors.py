"""The errors that users see; each message names the problem and the remedy.

Errors of a single stage are defined here only if the command line treats them differently.
"""

from typing import Final

FAILED_ASSETS: Final = "failed_assets"
"""The metadata of a Dagster `Failure` with the failed assets of a step that builds many: the reason
by asset key."""


class PipelineError(Exception):
    """The work failed for the reason in the message (exit code 1)."""


class UnavailableError(PipelineError):
    """A required service is not available; a later attempt may succeed."""


class UsageError(PipelineError):
    """The command or a setting is wrong; the message gives the remedy (exit code 2)."""


class StoppedError(PipelineError):
    """The work was stopped by Ctrl-C or SIGTERM (exit code 130)."""
