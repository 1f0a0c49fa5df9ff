"""One alert per cause, to its owner; an alert that cannot be sent waits and is shown."""

from collections.abc import Iterator
from typing import Any

import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetsDefinition,
    AssetSpec,
    DagsterInstance,
    Failure,
    MaterializeResult,
    RetryRequested,
    asset,
    asset_check,
    build_sensor_context,
    materialize,
    multi_asset,
)

from retail_pipeline.automation.alerts import Cause, Outcome, outcome_of
from retail_pipeline.automation.delivery import Memory, Waiting, deliver, recipients, take
from retail_pipeline.automation.environments import Starter
from retail_pipeline.automation.sensors import build_sensors
from retail_pipeline.errors import (
    FAILED_ASSETS,
    UsageError,
)
from retail_pipeline.settings import Settings
from retail_pipeline_tests.automation.receivers import Receiver, mail_server, webhook
from retail_pipeline_tests.automation.world import Daemon, World

UI = "https://dagster.example"


class Alerting:
    """The sensor `alerts` over a small graph."""

    def __init__(self, world: World, instance: DagsterInstance, settings: Settings) -> None:
        self.world, self.instance, self.settings = world, instance, settings
        self.cursor: str | None = None
        self.tick()

    def tick(self) -> str:
        settings = self.settings.model_copy(update={"home": self.world.home})
        [sensor] = [each for each in build_sensors(settings, []) if each.name == Starter.ALERTS]
        context = build_sensor_context(
            instance=self.instance,
            definitions=self.world.definitions(),
            sensor_name=Starter.ALERTS,
            cursor=self.cursor,
        )
        ticked = sensor.evaluate_tick(context)
        self.cursor = ticked.cursor
        return str(ticked.skip_message)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook() as running:
        yield running


@pytest.fixture
def alerting(world: World, instance: DagsterInstance, receiver: Receiver) -> Alerting:
    address = f"http://127.0.0.1:{receiver.port}/secret-path"
    return Alerting(world, instance, Settings(alert_webhook={"": (address,)}, dagster_url=UI))


def test_a_failing_asset_is_one_alert_with_asset_cause_owner_and_run_link(
    alerting: Alerting, receiver: Receiver, daemon: Daemon, world: World
) -> None:
    world.failing = {"clv/model": "no convergence after 17 steps"}
    run = daemon.run()
    alerting.tick()
    world.failing = {"clv/model": "no convergence after 18 steps"}
    daemon.run("clv/model")
    alerting.tick()
    alerting.tick()
    [alert] = receiver.received
    assert alert["title"] == "clv/model failed"
    assert alert["assets"] == ["clv/model"]
    assert alert["cause"] == "RuntimeError: no convergence after 17 steps"
    assert alert["owners"] == ["team:data-science"]
    assert alert["run_url"] == f"{UI}/runs/{run}"
    assert all(alert[name] in alert["text"] for name in ("title", "cause", "run_url"))


def test_another_cause_or_the_same_one_after_a_recovery_is_alerted(
    alerting: Alerting, receiver: Receiver, daemon: Daemon, world: World
) -> None:
    for reason in ("out of memory", "out of memory", "no such column", "", "no such column"):
        world.failing = {"clv/model": reason} if reason else {}
        daemon.run("clv/model")
    alerting.tick()
    assert [alert["cause"] for alert in receiver.received] == [
        "RuntimeError: out of memory",
        "RuntimeError: no such column",
        "RuntimeError: no such column",
    ]


def test_failures_for_one_reason_are_one_alert(
    alerting: Alerting, receiver: Receiver, daemon: Daemon, world: World
) -> None:
    daemon.run()
    world.failing = dict.fromkeys(("clv/segments", "figures/gain_curve"), "the database is gone")
    daemon.run("clv/segments", "figures/gain_curve")
    alerting.tick()
    assert receiver.titles == ["clv/segments and 1 more failed"]
    owners = ["team:analytics-engineering", "team:data-science"]
    assert receiver.received[0]["owners"] == owners


def test_a_blocking_check_is_the_cause_not_the_step_that_it_stopped(
    alerting: Alerting, receiver: Receiver, daemon: Daemon, world: World
) -> None:
    world.wrong = {"transactional/people": AssetCheckSeverity.ERROR}
    daemon.run()
    daemon.run()
    alerting.tick()
    assert receiver.titles == ["transactional/people: check is_right did not pass"]
    assert receiver.received[0]["cause"] == "transactional/people is not right"


def test_a_warning_is_alerted_when_it_has_stayed_for_three_runs(
    alerting: Alerting, receiver: Receiver, daemon: Daemon, world: World
) -> None:
    seen = []
    for wrong in (True, True, False, True, True, True, True):
        world.wrong = {"clv/model": AssetCheckSeverity.WARN} if wrong else {}
        daemon.run("clv/model")
        alerting.tick()
        seen.append(len(receiver.received))
    assert seen == [0, 0, 0, 0, 0, 1, 1]
    assert "in 3 runs in a row" in receiver.received[0]["text"]


def test_a_webhook_that_is_down_harms_no_run_is_shown_and_loses_no_alert(
    alerting: Alerting, receiver: Receiver, daemon: Daemon, world: World
) -> None:
    world.failing = {"clv/model": "first"}
    daemon.run("clv/model")
    receiver.status = 503
    for _ in range(2):
        shown = alerting.tick()
        assert "1 alerts wait: webhook: it answered 503" in shown
        assert "secret-path" not in shown
    world.failing = {"clv/predictions": "second"}
    daemon.run("clv/model", "clv/predictions")
    assert "2 alerts wait" in alerting.tick()
    assert "secret-path" not in str(alerting.cursor)
    receiver.status = 200
    alerting.tick()
    alerting.tick()
    assert sorted(receiver.titles) == ["clv/model failed", "clv/predictions failed"]


def test_an_address_that_is_down_keeps_nothing_from_the_others_and_repeats_nothing_there(
    world: World, daemon: Daemon, receiver: Receiver
) -> None:
    with webhook() as down, mail_server() as post:
        down.status = 503
        settings = Settings.from_environment(
            {
                "RETAIL_ALERT_WEBHOOK": f"http://127.0.0.1:{down.port} "
                f"http://127.0.0.1:{receiver.port}",
                "RETAIL_ALERT_EMAIL": "one@example.org two@example.org",
                "RETAIL_SMTP_URL": f"smtp://127.0.0.1:{post.port}?from=pipeline@example.org",
            }
        )
        alerting = Alerting(world, daemon.instance, settings)
        for reason in ("first", "second"):
            world.failing = {"clv/model": reason}
            daemon.run("clv/model")
            for _ in range(2):
                assert "webhook: it answered 503" in alerting.tick()
        assert len(receiver.received) == 2
        down.status = 200
        alerting.tick()
        alerting.tick()
        assert len(down.received) == len(receiver.received) == 2
        assert len(post.received) == 4


def test_an_alert_that_is_refused_holds_up_no_other(
    alerting: Alerting, receiver: Receiver, daemon: Daemon, world: World
) -> None:
    receiver.unwanted = "clv/model failed"
    for name in ("clv/model", "clv/predictions"):
        world.failing = {name: "a reason"}
        daemon.run("clv/model", "clv/predictions")
    assert "2 alerts wait: webhook: it answered 400" in alerting.tick()
    for _ in range(2):
        assert "1 alerts wait: webhook: it answered 400" in alerting.tick()
    assert receiver.titles == ["clv/predictions failed"]


def test_a_run_that_was_killed_goes_to_every_team_where_no_address_is_for_the_rest() -> None:
    address = ("http://a",)
    teams = ["data-platform", "data-science"]
    for routes, expected in (
        (dict.fromkeys(teams, address), teams),
        ({"data-science": address, "": address}, [""]),
    ):
        found = recipients(Settings(alert_webhook=routes), owners=())
        assert [each.team for each in found] == expected


def test_a_log_that_cannot_be_read_is_alerted_and_silences_no_other_run(
    alerting: Alerting,
    receiver: Receiver,
    daemon: Daemon,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unreadable, read = daemon.run("clv/model", job="clv"), daemon.instance.all_logs

    def all_logs(run_id: str, **options: Any) -> Any:
        if run_id == unreadable:
            raise ValueError("an event of another release")
        return read(run_id, **options)

    monkeypatch.setattr(daemon.instance, "all_logs", all_logs)
    world.failing = {"clv/model": "a reason"}
    daemon.run("clv/model")
    alerting.tick()
    assert receiver.titles == [
        "job clv has ended, but its log cannot be read",
        "clv/model failed",
    ]
    assert receiver.received[0]["cause"] == "ValueError: an event of another release"


def test_killed_runs_of_two_jobs_are_two_alerts() -> None:
    memory = Memory(seen=0)
    for job, alerts in (("clv", 1), ("ingestion", 1), ("clv", 0)):
        outcome = Outcome("a run", (Cause(job, (), "the process was killed"),))
        assert take(memory, outcome, Settings()) == alerts


def test_alerts_that_a_tick_has_no_time_for_wait_for_the_next(receiver: Receiver) -> None:
    settings = Settings(alert_webhook={"": (f"http://127.0.0.1:{receiver.port}",)})
    [recipient] = recipients(settings)
    waiting = [Waiting(to=recipient.id, alert={"title": title}) for title in ("one", "two")]
    memory = Memory(seen=0, waiting=waiting)
    assert deliver(memory, settings, seconds=0) == []
    assert (len(memory.waiting), receiver.titles) == (2, [])
    deliver(memory, settings)
    assert (memory.waiting, receiver.titles) == ([], ["one", "two"])


def test_a_damaged_memory_silences_no_alert(
    alerting: Alerting, receiver: Receiver, daemon: Daemon, world: World
) -> None:
    world.failing = {"clv/model": "a reason"}
    daemon.run("clv/model")
    alerting.cursor = '{"seen": "nonsense'
    alerting.tick()
    alerting.tick()
    assert receiver.titles == ["clv/model failed"]


def test_a_check_that_crashed_is_alerted_again_once_it_has_gone_well(
    instance: DagsterInstance,
) -> None:
    @asset
    def table() -> None: ...

    @asset_check(asset=table)
    def is_right() -> AssetCheckResult:
        if now["crashes"]:
            raise RuntimeError("the database is away")
        return AssetCheckResult(passed=True)

    memory, now, alerts = Memory(seen=0), {}, []
    for now["crashes"] in (True, True, False, True):
        alerts.append(take(memory, outcome_after(instance, table, is_right), Settings()))
    assert alerts == [1, 0, 0, 1]


def test_a_failure_that_a_retry_repaired_is_no_cause(instance: DagsterInstance) -> None:
    tries: list[int] = []

    @asset(check_specs=[AssetCheckSpec("is_right", asset="table")])
    def table():
        tries.append(1)
        yield AssetCheckResult(passed=len(tries) > 1)
        if len(tries) == 1:
            raise RetryRequested
        yield MaterializeResult()

    outcome = outcome_after(instance, table)
    assert (len(tries), outcome.causes) == (2, ())


def test_a_failed_test_does_not_hide_a_model_that_failed_in_the_same_build(
    instance: DagsterInstance,
) -> None:
    @multi_asset(
        specs=[AssetSpec(name, skippable=True) for name in ("a", "b", "downstream")],
        check_specs=[AssetCheckSpec("is_right", asset="a")],
    )
    def build():
        yield MaterializeResult(asset_key="a")
        yield AssetCheckResult(passed=False, asset_key="a", description="a is not right")
        raise Failure("two failed", metadata={FAILED_ASSETS: {"b": "no such column"}})

    outcome = outcome_after(instance, build)
    causes = {(cause.assets, cause.check, cause.reason) for cause in outcome.causes}
    assert causes == {
        (("a",), "is_right", "a is not right"),
        (("b",), None, "no such column"),
    }


def outcome_after(instance: DagsterInstance, *assets: AssetsDefinition) -> Outcome:
    run_id = materialize(assets, instance=instance, raise_on_error=False).run_id
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return outcome_of(instance, run, lambda key: ())


def test_five_days_without_a_daemon_lose_no_failure(
    alerting: Alerting, receiver: Receiver, daemon: Daemon, world: World
) -> None:
    for day in ("one", "two", "three", "four", "five"):
        world.failing = {"clv/model": f"the reason of day {day}"}
        daemon.run("clv/model")
    restarted = Alerting(world, daemon.instance, alerting.settings)
    restarted.cursor = alerting.cursor
    restarted.tick()
    assert len(receiver.received) == 5


def test_history_before_the_first_look_is_no_news(
    world: World, daemon: Daemon, receiver: Receiver
) -> None:
    world.failing = {"clv/model": "long ago"}
    daemon.run("clv/model")
    address = f"http://127.0.0.1:{receiver.port}"
    Alerting(world, daemon.instance, Settings(alert_webhook={"": (address,)})).tick()
    assert receiver.received == []


def test_an_address_in_the_form_of_apprise_is_an_address(
    world: World, daemon: Daemon, receiver: Receiver
) -> None:
    environment = {"RETAIL_ALERT_WEBHOOK": f"json://127.0.0.1:{receiver.port}/hook"}
    alerting = Alerting(world, daemon.instance, Settings.from_environment(environment))
    world.failing = {"clv/model": "a reason"}
    daemon.run("clv/model")
    receiver.status = 503
    assert "1 alerts wait: webhook" in alerting.tick()
    receiver.status = 200
    alerting.tick()
    assert receiver.titles == ["[retail-pipeline] clv/model failed"]
    assert "a reason" in receiver.received[0]["message"]


def test_alerts_go_to_the_owners_address_and_by_mail(
    world: World, daemon: Daemon, receiver: Receiver
) -> None:
    with mail_server() as post, webhook() as others:
        settings = Settings.from_environment(
            {
                "RETAIL_ALERT_WEBHOOK": f"data-science=http://127.0.0.1:{receiver.port}/a?b=c "
                f"http://127.0.0.1:{others.port}",
                "RETAIL_ALERT_EMAIL": "data-platform=platform@example.org",
                "RETAIL_SMTP_URL": f"smtp://127.0.0.1:{post.port}?from=pipeline@example.org",
            }
        )
        alerting = Alerting(world, daemon.instance, settings)
        world.failing = {"clv/model": "a", "figures/revenue_over_time": "b"}
        daemon.run()
        world.failing = {"transactional/people": "c"}
        daemon.run()
        alerting.tick()
    assert receiver.titles == ["clv/model failed"]
    assert others.titles == ["figures/revenue_over_time failed", "transactional/people failed"]
    [mail] = post.received
    assert "Subject: [retail-pipeline] transactional/people failed" in mail
    assert "To: platform@example.org" in mail


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RETAIL_ALERT_WEBHOOK": "https://good.example team=hidden"}, "entry 2"),
        ({"RETAIL_ALERT_WEBHOOK": "nosuch://hidden"}, "entry 1"),
        ({"RETAIL_ALERT_WEBHOOK": "mailto://hidden@example.org"}, "entry 1"),
        ({"RETAIL_ALERT_WEBHOOK": "hidden=https://good.example"}, "data-science.*entry 1"),
        ({"RETAIL_ALERT_EMAIL": "someone@example.org"}, "needs RETAIL_SMTP_URL"),
        ({"RETAIL_ALERT_EMAIL": "someone", "RETAIL_SMTP_URL": "smtp://h"}, "must hold addresses"),
        ({"RETAIL_SMTP_URL": "mail.example.org"}, "smtp://"),
        ({"RETAIL_DAGSTER_URL": "localhost:3000"}, "RETAIL_DAGSTER_URL"),
    ],
)
def test_a_wrong_address_is_one_clear_error(environment: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        Settings.from_environment(environment)
    assert "hidden" not in str(error.value)
