"""From alerts to people: the log, a webhook, e-mail; an outbox keeps what could not be sent.

State is one file under RETAIL_HOME: how far the event log was read, the causes that are open, the
alerts that wait. It names routes, not addresses: these may be secrets. What deserves an alert is
said in `alerts`.
"""

import json
import logging
import os
import smtplib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from retail_pipeline.automation.alerts import ALERT_AFTER, Alert, Cause, Outcome
from retail_pipeline.errors import PipelineError
from retail_pipeline.settings import AlertSettings

SEND_SECONDS = 10.0
WEBHOOK, EMAIL = "webhook", "e-mail"

_LOG = logging.getLogger("retail_pipeline.alerts")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass
class OpenCause:
    """A cause that was seen and has not gone well since."""

    assets: list[str]
    check: str | None
    runs: list[str]
    alerted: bool = False


@dataclass
class Waiting:
    """An alert that one route has not taken yet."""

    channel: str
    team: str
    title: str
    alert: dict[str, Any]
    attempts: int = 0
    error: str = ""


@dataclass
class Book:
    """What the alerting remembers.

    Attributes:
        seen: The last run-status event looked at, by the id of Dagster's storage.
        causes: The open causes by key.
        outbox: Alerts that wait.
    """

    seen: dict[str, int] = field(default_factory=dict)
    causes: dict[str, OpenCause] = field(default_factory=dict)
    outbox: list[Waiting] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "Book":
        """Return the book of a file; an empty one where there is none."""
        try:
            kept = json.loads(path.read_text())
        except FileNotFoundError:
            return cls()
        return cls(
            kept["seen"],
            {key: OpenCause(**cause) for key, cause in kept["causes"].items()},
            [Waiting(**waiting) for waiting in kept["outbox"]],
        )

    def write(self, path: Path) -> None:
        """Keep the book: a reader sees the old one or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file, indent=1)
        draft.replace(path)

    def take(self, outcome: Outcome, alert: Callable[[Cause], Alert]) -> list[Alert]:
        """Enter what a run says; return the alerts that it calls for.

        Args:
            outcome: The run's.
            alert: Makes an alert of a cause.
        """
        run_causes = {cause.key for cause in outcome.causes}
        for key, known in list(self.causes.items()):
            if key not in run_causes and _went_well(known, outcome):
                del self.causes[key]
        alerts = []
        for cause in outcome.causes:
            known = self.causes.setdefault(
                cause.key, OpenCause(list(cause.assets), cause.check, [])
            )
            told = alert(cause)
            if told.run_id not in known.runs:
                known.runs = [*known.runs, told.run_id][-max(ALERT_AFTER.values()) :]
            if not known.alerted and len(known.runs) >= ALERT_AFTER[cause.what]:
                known.alerted = True
                alerts.append(replace(told, runs_in_a_row=len(known.runs)))
        return alerts


def post(book: Book, alerts: Sequence[Alert], settings: AlertSettings) -> None:
    """Log alerts, and put each into the outbox once per route that its owners have."""
    for alert in alerts:
        _LOG.error("%s", alert.text)
        for channel, routes in _routes(settings).items():
            for team in _teams(routes, alert.cause.owners):
                book.outbox.append(Waiting(channel, team, alert.title, _document(alert)))


def deliver(book: Book, settings: AlertSettings) -> list[str]:
    """Send what waits; what a route does not take stays, with the reason.

    A channel that has failed is not asked again in the same call.

    Returns:
        One sentence per channel that failed.
    """
    down: dict[tuple[str, str], str] = {}
    left = []
    for waiting in book.outbox:
        route = (waiting.channel, waiting.team)
        if route not in down:
            waiting.attempts += 1
            try:
                _send(waiting, settings)
                continue
            except Exception as error:  # whatever it is, it is shown and the alert stays
                down[route] = waiting.error = _words(error)
        left.append(waiting)
    book.outbox = left
    return [
        f"{channel}{f' of {team}' if team else ''}: {error}"
        for (channel, team), error in down.items()
    ]


def _went_well(known: OpenCause, outcome: Outcome) -> bool:
    if known.check is not None:
        return any((asset, known.check) in outcome.passed for asset in known.assets)
    if not known.assets:
        return bool(outcome.made) and not outcome.causes
    return all(asset in outcome.made for asset in known.assets)


def _routes(settings: AlertSettings) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    return {WEBHOOK: settings.webhooks, EMAIL: settings.emails}


def _teams(routes: Mapping[str, tuple[str, ...]], owners: Sequence[str]) -> Iterator[str]:
    """Yield the routes of the owners; the one for everybody else where an owner has none."""
    teams = [owner.removeprefix("team:") for owner in owners] or [""]
    yield from sorted({team if team in routes else "" for team in teams} & set(routes))


def _document(alert: Alert) -> dict[str, Any]:
    cause = alert.cause
    return {
        "text": alert.text,
        "title": alert.title,
        "assets": list(cause.assets),
        "check": cause.check,
        "cause": cause.reason,
        "owners": list(cause.owners),
        "job": alert.job,
        "run_id": alert.run_id,
        "run_url": alert.run_url,
    }


def _send(waiting: Waiting, settings: AlertSettings) -> None:
    addresses = _routes(settings)[waiting.channel].get(waiting.team)
    if addresses is None:
        raise PipelineError("the settings have no such address any more")
    if waiting.channel == EMAIL:
        _mail(addresses, waiting, settings.smtp_url)
        return
    import httpx

    for address in addresses:
        httpx.post(address, json=waiting.alert, timeout=SEND_SECONDS).raise_for_status()


def _mail(addresses: Sequence[str], waiting: Waiting, smtp_url: str | None) -> None:
    if smtp_url is None:
        raise PipelineError("RETAIL_SMTP_URL is not set")
    server = urlsplit(smtp_url)
    sender = parse_qs(server.query).get("from", ["retail-pipeline@localhost"])[0]
    message = EmailMessage()
    message["Subject"] = f"[retail-pipeline] {waiting.title}"
    message["From"], message["To"] = sender, ", ".join(addresses)
    message.set_content(waiting.alert["text"])
    host = server.hostname or "localhost"
    secure = server.scheme == "smtps"
    client = smtplib.SMTP_SSL if secure else smtplib.SMTP
    with client(host, server.port or (465 if secure else 25), timeout=SEND_SECONDS) as smtp:
        if not secure and host not in _LOOPBACK:
            smtp.starttls()
        if server.username:
            smtp.login(unquote(server.username), unquote(server.password or ""))
        smtp.send_message(message)


def _words(error: Exception) -> str:
    """Return what an error says without an address in it: a webhook's is a secret."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    if isinstance(error, httpx.HTTPError | httpx.InvalidURL):
        return f"it cannot be reached ({type(error).__name__})"
    if isinstance(error, PipelineError):
        return str(error)
    text = ""
    with suppress(Exception):
        text = f": {str(error)[:200]}" if isinstance(error, OSError | smtplib.SMTPException) else ""
    return f"{type(error).__name__}{text}"
