"""`doctor`: what it finds on a machine that works, and on one that does not."""

import json
from pathlib import Path

from retail_pipeline.cli.progress import Course
from retail_pipeline_tests.cli.command import DONE, FAILED, WRONG_USE, Cli


def verdicts(output: str) -> dict[str, str]:
    return {finding["what"]: finding["verdict"] for finding in json.loads(output)}


def test_a_machine_that_works_is_called_fine_and_nothing_is_made(cli: Cli, tmp_path: Path) -> None:
    done = cli("doctor", "--port", "0", "--json")
    assert done.returncode == DONE, done.stderr
    found = verdicts(done.stdout)
    for what in ("Python", "packages", "settings", "disk", "PostgreSQL", "server's clock"):
        assert found[what] == "fine"
    assert not (tmp_path / "home").exists()


def test_what_is_broken_is_named_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "doctor",
        RETAIL_DATABASE_URL="postgresql://a:hidden@127.0.0.1:1/x",
        RETAIL_SOURCE=f"file:{tmp_path / 'absent.csv'}",
    )
    assert done.returncode == FAILED
    assert "127.0.0.1:1/x cannot be used" in done.stdout
    assert "absent.csv does not exist" in done.stdout
    assert "PostgreSQL, source" in done.stderr
    assert "hidden" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout


def test_wrong_settings_do_not_hide_the_rest(cli: Cli) -> None:
    done = cli("doctor", "--json", RETAIL_ENV="moon")
    assert done.returncode == WRONG_USE
    found = verdicts(done.stdout)
    assert found["settings"] == "broken"
    assert found["Python"] == "fine"


def test_the_rest_of_a_run_is_judged_by_an_earlier_one(tmp_path: Path) -> None:
    kept = tmp_path / "course.json"
    assert Course.read(kept) == {}
    kept.write_text("not JSON")
    assert Course.read(kept) == {}

    course = Course({"a", "b"}, {"a": 10.0, "b": 30.0, "end": 40.0})
    assert course.remaining() is None
    course.reached("a")  # at once: the rest is thought to take 30 s, at the fastest pace
    left = course.remaining()
    assert left is not None and 8.0 < left <= 9.0
    assert course.words().startswith("1 of 2 assets")
    course.write(kept)
    assert set(Course.read(kept)) == {"a", "end"}
