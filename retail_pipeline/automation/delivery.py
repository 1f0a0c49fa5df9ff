"""Delivery of alerts: new and waiting alerts, and their recipients.

The sensor's cursor stores the last ended run that was read, the open causes and the waiting alerts.
It contains digests of addresses instead of addresses, which may be secret.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import pydantic

from retail_pipeline.automation.alerts import Outcome
from retail_pipeline.settings import Settings

WEBHOOK, EMAIL = "webhook", "e-mail"
RUNS_BEFORE_A_WARNING: Final = 3
"""Runs in a row in which a check must warn before there is an alert: a warning may be temporary."""
SEND_SECONDS: Final = 10.0
_DELIVERY_SECONDS: Final = 20.0
"""Time for sending in one tick: Dagster would end a tick after a minute without storing its cursor,
and the next tick would send all alerts again."""

_LOG = logging.getLogger("retail_pipeline.alerts")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class OpenCause(pydantic.BaseModel):
    """A cause whose subjects have not been healthy since."""

    subjects: list[str]
    runs: list[str] = []
    is_alerted: bool = False


class Waiting(pydantic.BaseModel):
    """An alert that was not yet delivered to one recipient; `to` is the recipient's id."""

    to: str
    alert: dict[str, Any]


class Memory(pydantic.BaseModel):
    """The sensor's cursor: the last ended run that was read, open causes by key, waiting alerts."""

    seen: int
    causes: dict[str, OpenCause] = {}
    waiting: list[Waiting] = []


@dataclass(frozen=True)
class Recipient:
    """One address of a team; the empty team is for owners without their own address."""

    channel: str
    team: str
    address: str = field(repr=False)

    @property
    def id(self) -> str:
        """A digest that identifies the recipient without revealing the address."""
        return hashlib.sha256(f"{self.channel} {self.address}".encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The channel and the team, for messages."""
        return f"{self.channel} of {self.team}" if self.team else self.channel


def take(memory: Memory, outcome: Outcome, settings: Settings) -> int:
    """Add an ended run to the memory, and log its new alerts; return their number."""
    causes = {cause.key: cause for cause in outcome.causes}
    for key, known in list(memory.causes.items()):
        if key not in causes and set(known.subjects) <= outcome.healthy:
            del memory.causes[key]
    alerts = 0
    for key, cause in causes.items():
        known = memory.causes.setdefault(key, OpenCause(subjects=cause.subjects))
        if outcome.run_id not in known.runs:
            known.runs = [*known.runs, outcome.run_id][-RUNS_BEFORE_A_WARNING:]
        if known.is_alerted or len(known.runs) < (RUNS_BEFORE_A_WARNING if cause.is_warning else 1):
            continue
        known.is_alerted = True
        alerts += 1
        alert = outcome.document(cause, settings.dagster_url, len(known.runs))
        _LOG.error("%s", alert["text"])
        memory.waiting += [
            Waiting(to=each.id, alert=alert) for each in recipients(settings, cause.owners)
        ]
    return alerts


def recipients(settings: Settings, owners: Sequence[str] | None = None) -> list[Recipient]:
    """Return the recipients for some owners, or all recipients if `owners` is None.

    An owner without its own address uses the addresses without a team. A cause without an owner,
    such as a killed run, uses them too; if there are none, all recipients get the alert.
    """
    found = []
    for channel, routes in ((WEBHOOK, settings.alert_webhook), (EMAIL, settings.alert_email)):
        teams = set(routes)
        if owners is not None and (owners or "" in routes):
            names = [owner.removeprefix("team:") for owner in owners] or [""]
            teams = {name if name in routes else "" for name in names} & set(routes)
        found += [Recipient(channel, team, each) for team in sorted(teams) for each in routes[team]]
    return found


def deliver(memory: Memory, settings: Settings, seconds: float = _DELIVERY_SECONDS) -> list[str]:
    """Send the waiting alerts; those that were not delivered stay in the memory.

    After a failure an address gets no more alerts in the same call, and the failed alert is the
    last in the next call, so that it does not delay others.

    Args:
        memory: The memory with the waiting alerts.
        settings: The settings with the addresses.
        seconds: The time after which no more alerts are sent; the rest wait for the next call.

    Returns:
        One sentence per failed address, without the address.
    """
    known = {each.id: each for each in recipients(settings)}
    failed: dict[str, str] = {}
    refused, left = [], []
    until = time.monotonic() + seconds
    for waiting in memory.waiting:
        recipient = known.get(waiting.to)
        if recipient is None:
            _LOG.error(
                "not sent, its address was removed from the settings: %s", waiting.alert["title"]
            )
        elif waiting.to in failed or time.monotonic() >= until:
            left.append(waiting)
        elif reason := _refusal(recipient, waiting.alert, settings):
            failed[waiting.to] = f"{recipient.label}: {reason}"
            refused.append(waiting)
    memory.waiting = [*left, *refused]
    return list(failed.values())


def _refusal(recipient: Recipient, alert: dict[str, Any], settings: Settings) -> str:
    """Send one alert; return the reason of a failure, or an empty text."""
    try:
        if recipient.address.startswith(("http://", "https://")):
            return _post(recipient.address, alert)
        return _notify(recipient, alert, settings)
    except Exception as error:  # no error may stop the alerts; its text may contain secrets
        return f"it cannot be reached ({type(error).__name__})"


def _post(address: str, alert: dict[str, Any]) -> str:
    import httpx

    answer = httpx.post(address, json=alert, timeout=SEND_SECONDS)
    return "" if answer.is_success else f"it answered {answer.status_code}"


def _notify(recipient: Recipient, alert: dict[str, Any], settings: Settings) -> str:
    import apprise

    is_mail = recipient.channel == EMAIL
    target: Any = _mail_target(recipient.address, settings) if is_mail else recipient.address
    service = apprise.Apprise()
    title = f"[retail-pipeline] {alert['title']}"
    text = apprise.NotifyFormat.TEXT
    taken = service.add(target) and service.notify(alert["text"], title=title, body_format=text)
    return "" if taken else "it did not accept the alert (apprise's log has the details)"


def _mail_target(address: str, settings: Settings) -> dict[str, Any]:
    """Return apprise's configuration of a mail, unencrypted only to a server on this machine."""
    server = urlsplit(settings.smtp_url or "")
    host = server.hostname or "localhost"
    is_tls = server.scheme == "smtps"
    insecure = host in _LOOPBACK and not is_tls
    mode = "insecure" if insecure else "ssl" if is_tls else "starttls"
    return {
        "schema": "mailto" if insecure else "mailtos",
        "host": host,
        "smtp_host": host,
        "port": server.port or (465 if is_tls else 25),
        "user": unquote(server.username) if server.username else None,
        "password": unquote(server.password) if server.password else None,
        "secure_mode": mode,
        "from_addr": parse_qs(server.query).get("from", ["retail-pipeline@localhost"])[0],
        "targets": [address],
        "format": "text",
    }
