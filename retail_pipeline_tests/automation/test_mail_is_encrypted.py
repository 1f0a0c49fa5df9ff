"""Mail is always encrypted: without STARTTLS nothing is sent, and the alert waits."""

import socket
from typing import Any

import pytest
from dagster import DagsterInstance

from retail_pipeline.settings import Settings
from retail_pipeline_tests.automation.receivers import mail_server
from retail_pipeline_tests.automation.test_alerts import Alerting
from retail_pipeline_tests.automation.world import Daemon, World

ELSEWHERE = "mail.example.org"


def test_a_mail_server_without_encryption_is_sent_nothing(
    world: World, daemon: Daemon, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def elsewhere_is_here(host: Any, *arguments: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host == ELSEWHERE else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere_is_here)
    with mail_server() as post:
        environment = {
            "RETAIL_ALERT_EMAIL": "someone@example.org",
            "RETAIL_SMTP_URL": f"smtp://{ELSEWHERE}:{post.port}",
        }
        alerting = Alerting(world, instance, Settings.from_environment(environment))
        world.failing = {"clv/model": "a reason"}
        daemon.run("clv/model")
        assert "1 alerts wait: e-mail" in alerting.tick()
        assert post.received == []

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        here = {**environment, "RETAIL_SMTP_URL": f"smtp://127.0.0.1:{post.port}"}
        alerting.settings = Settings.from_environment(here)
        alerting.tick()
    assert len(post.received) == 1, "the alert was lost, or the server takes no mail at all"
