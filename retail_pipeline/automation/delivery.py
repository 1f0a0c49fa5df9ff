"""Delivery of alerts: the ones that are due, their recipients, and the ones that wait.

The sensor's cursor is the memory: how far the ended runs were read, the open causes, the alerts
that wait. It has digests of addresses, not addresses, as these may be secrets.
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
"""Runs in a row in which a check warns before it is alerted: a warning may pass by itself."""
SEND_SECONDS: Final = 10.0
_DELIVERY_SECONDS: Final = 20.0
"""For all sending of one tick: Dagster ends a tick after a minute and keeps no cursor of it, and
everything would be sent again."""

_LOG = logging.getLogger("retail_pipeline.alerts")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class OpenCause(pydantic.BaseModel):
    """A cause that has not been healthy since it was seen."""

    subjects: list[str]
    runs: list[str] = []
    is_alerted: bool = False


class Waiting(pydantic.BaseModel):
    """An alert that one address has not taken yet; `to` is the recipient's id."""

    to: str
    alert: dict[str, Any]


class Memory(pydantic.BaseModel):
    """The cursor: the last ended run that was read, the open causes by key, the waiting alerts."""

    seen: int
    causes: dict[str, OpenCause] = {}
    waiting: list[Waiting] = []


@dataclass(frozen=True)
class Recipient:
    """One address of a team; the empty team is for owners without an address of their own."""

    channel: str
    team: str
    address: str = field(repr=False)

    @property
    def id(self) -> str:
        """A digest that names the recipient without the address."""
        return hashlib.sha256(f"{self.channel} {self.address}".encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The channel and the team, for messages."""
        return f"{self.channel} of {self.team}" if self.team else self.channel


def take(memory: Memory, outcome: Outcome, settings: Settings) -> int:
    """Enter an ended run into the memory; return the number of new alerts, logged and waiting."""
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
    """Return the addresses for assets of these owners; all of them where `owners` is None.

    An owner without an address of its own shares the one without a team. So does what nobody owns,
    such as a run that was killed; without that address it goes to all.
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
    """Send the waiting alerts; those that an address does not take stay in the memory.

    An address that has failed gets nothing more in the same call, and the alert that failed comes
    last in the next one, so that one refused alert holds up no other.

    Args:
        memory: The waiting alerts.
        settings: The addresses.
        seconds: No alert is begun later than this; the rest waits for the next call.

    Returns:
        One sentence per address that failed, without the address.
    """
    known = {each.id: each for each in recipients(settings)}
    failed: dict[str, str] = {}
    refused, left = [], []
    until = time.monotonic() + seconds
    for waiting in memory.waiting:
        recipient = known.get(waiting.to)
        if recipient is None:
            _LOG.error("not sent, its address was taken out: %s", waiting.alert["title"])
        elif waiting.to in failed or time.monotonic() >= until:
            left.append(waiting)
        elif reason := _refusal(recipient, waiting.alert, settings):
            failed[waiting.to] = f"{recipient.label}: {reason}"
            refused.append(waiting)
    memory.waiting = [*left, *refused]
    return list(failed.values())


def _refusal(recipient: Recipient, alert: dict[str, Any], settings: Settings) -> str:
    """Send one alert; return the reason where it was not taken, else nothing."""
    try:
        if recipient.address.startswith(("http://", "https://")):
            return _post(recipient.address, alert)
        return _notify(recipient, alert, settings)
    except Exception as error:  # none may end the alerting, and its text may be secret
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
    return "" if taken else "it did not take the alert (the log of apprise says more)"


def _mail_target(address: str, settings: Settings) -> dict[str, Any]:
    """Return apprise's description of a mail; in clear it goes to this machine only."""
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
