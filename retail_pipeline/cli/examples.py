"""Examples of every command, shown at the end of its `--help`; a test parses each of them.

What a command does is its docstring; here is how people call it, and for what.
"""

from collections.abc import Mapping, Sequence

import typer

PROGRAM = "retail-pipeline"

EXAMPLES: Mapping[str, Sequence[tuple[str, str]]] = {
    "run": (
        ("", "everything, from the simulator"),
        ("--transactions sales.csv --as-of 2011-06-01", "from a file of order lines"),
        ("--select 'group:figures'", "only the figures, on the data that is there"),
        ("--source 'simulator:?customers=500&seed=1'", "a small shop"),
        ("--json", "the outcome for a script; progress goes to stderr"),
    ),
    "evaluate": (
        ("--transactions sales.csv --cutoff 2011-06-01", "the model that would have served"),
        (
            "--transactions sales.csv --cutoff 2011-06-01 --model all --figure models.png",
            "all of them, and a picture",
        ),
        (
            "--transactions sales.csv --cutoff 2011-06-01 --output predicted.parquet --json",
            "for a script",
        ),
    ),
    "status": (("", "what is running and stored"), ("--json", "the same for a script")),
    "doctor": (
        ("", "before the first run, or when something is odd"),
        ("--json", "for a script: exit code 1 if something is broken"),
    ),
    "up": (("", "start PostgreSQL, so that the next command finds it"),),
    "down": (("", "stop it; what is stored stays"),),
    "dev": (("", "the UI on http://127.0.0.1:3000"), ("--port 3001", "beside another one")),
    "exec": (
        ("dagster-daemon liveness-check", "whether the daemon is at work"),
        ("dagster run list --limit 5", "any command of Dagster, on this instance"),
    ),
    "reset": (("", "remove all state, after a question"), ("--yes", "without asking")),
    "forget": (
        ("C-000123 --dry-run", "count what would be removed"),
        ("C-000123 --yes", "remove this customer everywhere, without asking"),
    ),
    "bench": (
        ("pipeline", "the whole run against its parts"),
        ("warehouse --size 100000 --json warehouse.json", "one size, kept in a file"),
    ),
    "db-url": (
        ("--role reader", 'for `psql "$(retail-pipeline db-url --role reader)"`'),
        ("", "the owner's; it holds the password"),
    ),
    "dbt-env": (("", 'for `eval "$(retail-pipeline dbt-env)"`, and then dbt in dbt_project'),),
    "api serve": (
        ("", "the bundled API, with the configured source"),
        ("--source file:sales.csv --port 8081", "a file's records"),
    ),
    "db migrate": (("", "apply new scripts, and rights that were lost"),),
    "db check": (("", "for a script: exit code 1 if the database differs"),),
    "airbyte plan": (("", "what apply would do"), ("--prune", "with what it would delete")),
    "airbyte apply": (("", "make the server as the files say"),),
    "airbyte check": (("", "for a script: exit code 1 if the server differs"),),
    "model list": (("", "what serves and served"), ("--all --json", "every version, for a script")),
    "model pin": (("pareto_nbd_gamma_gamma-dbec6b618eb44f61", "let this version serve"),),
    "model unpin": (("", "let the rule choose again"),),
    "model rollback": (("", "back to what served before"),),
}


def teach(app: typer.Typer, path: str = "") -> None:
    """Put its examples at the end of the help of each command of an app and its groups."""
    for command in app.registered_commands:
        name = command.name or str(getattr(command.callback, "__name__", ""))
        command.epilog = _epilog(f"{path}{name}")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            teach(group.typer_instance, f"{path}{group.name} ")


def _epilog(command: str) -> str | None:
    if command not in EXAMPLES:
        return None
    calls = [(f"{PROGRAM} {command} {given}".rstrip(), why) for given, why in EXAMPLES[command]]
    return "\n\n".join(["Examples:", *(f"{call}    # {why}" for call, why in calls)])
