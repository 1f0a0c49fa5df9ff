"""From alerts to people: the log, a webhook, e-mail; an outbox keeps what could not be sent.

State is one file under RETAIL_HOME: how far the event log was read, the causes that are open, the
alerts that wait. It names routes, not addresses: these may be secrets. What deserves an alert is
said in `alerts`.
"""

import hashlib
import json
import logging
import smtplib
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from retail_pipeline.automation.alerts import (
    ALERT_AFTER,
    Alert,
    Cause,
    Outcome,
)
from retail_pipeline.errors import PipelineError
from retail_pipeline.files import replaced_whole
from retail_pipeline.settings import Settings

SEND_SECONDS = 10.0
WEBHOOK, EMAIL = "webhook", "e-mail"

_LOG = logging.getLogger("retail_pipeline.alerts")
_NO_SUCH_ROUTE = (
    "the settings name no such address any more: name one, or take its alerts out of `outbox` in "
    "alerts/book.json under RETAIL_HOME"
)
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
    """An alert that not every address of a route has taken yet; `taken` are digests of those."""

    channel: str
    team: str
    title: str
    alert: dict[str, Any]
    attempts: int = 0
    error: str = ""
    taken: list[str] = field(default_factory=list)


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
        with replaced_whole(path, mode=0o600) as draft:
            draft.write_text(json.dumps(asdict(self), indent=1))

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


def post(book: Book, alerts: Sequence[Alert], settings: Settings) -> None:
    """Log alerts, and put each into the outbox once per route that its owners have."""
    for alert in alerts:
        _LOG.error("%s", alert.text)
        for channel, routes in _routes(settings).items():
            for team in _teams(routes, alert.cause.owners):
                book.outbox.append(Waiting(channel, team, alert.title, _document(alert)))


def deliver(book: Book, settings: Settings) -> list[str]:
    """Send what waits; what an address does not take stays for it, with the reason.

    An address that has failed is not asked again in the same call, unless it refused one alert.

    Returns:
        One sentence per route that failed.
    """
    down: dict[tuple[str, str], str] = {}
    failed: dict[tuple[str, str], str] = {}
    left = []
    for waiting in book.outbox:
        waiting.attempts += 1
        waiting.error = "; ".join(_send_where_missing(waiting, settings, down))
        if waiting.error:
            failed[waiting.channel, waiting.team] = waiting.error
            left.append(waiting)
    book.outbox = left
    return [
        f"{channel}{f' of {team}' if team else ''}: {error}"
        for (channel, team), error in failed.items()
    ]


def _send_where_missing(
    waiting: Waiting, settings: Settings, down: dict[tuple[str, str], str]
) -> list[str]:
    """Send an alert to the addresses that lack it; return why some still do."""
    addresses = _routes(settings)[waiting.channel].get(waiting.team)
    if addresses is None:
        return [_NO_SUCH_ROUTE]
    errors = []
    for address in addresses:
        digest = hashlib.sha256(address.encode()).hexdigest()
        if digest in waiting.taken:
            continue
        if (waiting.channel, address) not in down:
            try:
                _SENDERS[waiting.channel](address, waiting, settings)
                waiting.taken.append(digest)
                continue
            except Exception as error:  # whatever it is, it is shown and the alert stays
                errors.append(_words(error))
                if not _refuses_this_one(error):
                    down[waiting.channel, address] = errors[-1]
                continue
        errors.append(down[waiting.channel, address])
    return list(dict.fromkeys(errors))


def _went_well(known: OpenCause, outcome: Outcome) -> bool:
    if known.check is not None:
        return any((asset, known.check) in outcome.passed for asset in known.assets)
    if not known.assets:
        return bool(outcome.well) and not outcome.causes
    return all(asset in outcome.well for asset in known.assets)


def _routes(settings: Settings) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    return {WEBHOOK: settings.alert_webhook, EMAIL: settings.alert_email}


def _teams(routes: Mapping[str, tuple[str, ...]], owners: Sequence[str]) -> list[str]:
    """Return the routes of the owners; the one for everybody else where an owner has none.

    What nobody owns, such as a run that was killed, goes there too; where there is no such route,
    to all.
    """
    if not owners and "" not in routes:
        return sorted(routes)
    teams = [owner.removeprefix("team:") for owner in owners] or [""]
    return sorted({team if team in routes else "" for team in teams} & set(routes))


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


def _post(address: str, waiting: Waiting, _settings: Settings) -> None:
    import httpx

    httpx.post(address, json=waiting.alert, timeout=SEND_SECONDS).raise_for_status()


def _mail(address: str, waiting: Waiting, settings: Settings) -> None:
    if settings.smtp_url is None:
        raise PipelineError("RETAIL_SMTP_URL is not set")
    server = urlsplit(settings.smtp_url)
    sender = parse_qs(server.query).get("from", ["retail-pipeline@localhost"])[0]
    message = EmailMessage()
    message["Subject"] = f"[retail-pipeline] {waiting.title}"
    message["From"], message["To"] = sender, address
    message.set_content(waiting.alert["text"])
    host = server.hostname or "localhost"
    secure = server.scheme == "smtps"
    trust = ssl.create_default_context()
    client = partial(smtplib.SMTP_SSL, context=trust) if secure else smtplib.SMTP
    with client(host, server.port or (465 if secure else 25), timeout=SEND_SECONDS) as smtp:
        if not secure and host not in _LOOPBACK:
            smtp.starttls(context=trust)
        if server.username:
            smtp.login(unquote(server.username), unquote(server.password or ""))
        smtp.send_message(message)


_SENDERS: Final = {WEBHOOK: _post, EMAIL: _mail}


def _refuses_this_one(error: Exception) -> bool:
    """Whether an address is there and does not want what it was sent."""
    import httpx

    if not isinstance(error, httpx.HTTPStatusError):
        return False
    code = error.response.status_code
    return error.response.is_client_error and code != httpx.codes.TOO_MANY_REQUESTS


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
