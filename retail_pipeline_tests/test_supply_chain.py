"""What gets installed: by hash, by digest, by commit, and under licenses that are known."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from retail_pipeline.bi.superset import _BY_HASH, _SOURCES
from retail_pipeline.settings import PROJECT_ROOT

BY_HASH = ("--no-deps", "--require-hashes")
WHEELS_ONLY = ("--only-binary :all:", "--no-build ")
OWN = ("--editable .", "/opt/wheel/")
"""The project itself: made by the locked tools, without further packages."""

RUNTIME, DEVELOPMENT = "requirements-runtime.lock", "requirements.lock"


def text(name: str) -> str:
    return (PROJECT_ROOT / name).read_text().replace("\\\n", " ")


def locked(name: str) -> dict[str, set[str]]:
    """Return the hashes of each `package==version` of a lock."""
    lines = [line for line in text(name).splitlines() if line.strip() and line[0] not in "# "]
    return {line.split(" ")[0]: set(re.findall(r"--hash=(\S+)", line)) for line in lines}


def names(requirements: list[str]) -> set[str]:
    found = [re.match(r"[\w.-]+", each) for each in requirements]
    return {re.sub(r"[-_.]+", "-", each[0]).lower() for each in found if each}


def test_every_installation_is_of_wheels_by_their_hash() -> None:
    commands = []
    for file in ("Makefile", ".ci/install", ".ci/run", *dockerfiles(), *workflows()):
        shown = text(file)
        shown = shown.replace("$(BY_HASH)", "".join(re.findall(r"BY_HASH = (.*)", shown)))
        shown = shown.replace("$by_hash", "".join(re.findall('by_hash="(.*)"', shown)))
        shown = shown.replace("with_pip $", "pip install $").replace("with_uv $", "pip install $")
        for line in re.split(r"\n|&&", shown):
            if re.search(r"pip install|with_\w+ -|(apt-get|npm) |curl |wget ", line):
                commands.append((file, line.strip()))
    installed = [each for each in commands if '"$@"' not in each[1]]
    assert len(installed) >= 8
    for file, line in installed:
        if not any(own in line for own in OWN):
            assert all(option in line for option in BY_HASH), f"{file}: {line}"
            assert any(option in line for option in WHEELS_ONLY), f"{file}: {line}"
        else:
            assert "--no-deps" in line, f"{file}: {line}"


def dockerfiles() -> list[str]:
    return ["Dockerfile", "deploy/kubernetes/Dockerfile"]


def workflows() -> list[str]:
    return [
        str(path.relative_to(PROJECT_ROOT)) for path in (PROJECT_ROOT / ".github").rglob("*.yml")
    ]


def test_the_dashboards_environment_is_installed_by_hash_and_built_by_locked_tools() -> None:
    installs = re.findall(r"_run\(\[\*command.*", text("retail_pipeline/bi/superset.py"))
    assert len(installs) == 2
    assert all("*_BY_HASH" in each for each in installs)
    assert {*BY_HASH, "--only-binary"} <= set(_BY_HASH)
    assert "_BUILD_LOCK" in installs[0] and "--no-build-isolation" in installs[1]
    assert names(list(locked("superset/build.lock"))) == {"setuptools"}
    assert set(_SOURCES) <= names(list(locked("superset/requirements.lock")))


@pytest.mark.parametrize(
    "lock",
    [
        *(RUNTIME, DEVELOPMENT, "superset/requirements.lock", "superset/build.lock"),
        *("deploy/spark/requirements.lock", "deploy/spark/build.lock"),
        *(f".ci/{x}.txt" for x in ("build", "audit", "docs", "store")),
    ],
)
def test_a_lock_names_exact_versions_with_their_hashes(lock: str) -> None:
    for package, hashes in locked(lock).items():
        assert re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.!+-]+", package), package
        assert hashes, package
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), package


def test_the_image_installs_what_developers_test_with_and_none_of_their_tools() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    runtime, development = locked(RUNTIME), locked(DEVELOPMENT)
    assert {package: development.get(package) for package in runtime} == runtime
    installed = names(list(runtime))
    assert names(project["dependencies"]) <= installed
    assert not names(project["optional-dependencies"]["dev"]) & installed
    build = locked(".ci/build.txt")
    shared = names(list(build)) & names(list(development))
    assert "hatchling" in shared
    assert all(development[each] == build[each] for each in build if names([each]) <= shared)
    assert "--without-pip" in text("Dockerfile")


def test_images_are_named_by_digest_and_actions_by_commit() -> None:
    from_line = re.compile(r"^FROM (\S+)(?: AS (\S+))?", re.MULTILINE)
    found = [each for file in dockerfiles() for each in from_line.findall(text(file))]
    ours = {"retail-pipeline:local", "${JAVA_IMAGE}", *(stage for _, stage in found)}
    images = [image for image, _ in found if image not in ours]
    services = yaml.safe_load(text("docker-compose.yml"))["services"].values()
    images += [each["image"] for each in services if "build" not in each]
    assert len(images) >= 3
    for image in images:
        assert re.fullmatch(r"[\w./:-]+:[\w.-]+@sha256:[0-9a-f]{64}", image), image
    actions = [use for file in workflows() for use in re.findall(r"uses: (\S+)", text(file))]
    assert actions
    for action in actions:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action


def test_the_weekly_audit_reads_every_lock() -> None:
    search = (
        "git",
        "-C",
        str(PROJECT_ROOT),
        "grep",
        "-l",
        "-e",
        "--hash=sha256:",
        "--",
        "*.lock",
        "*.txt",
    )
    found = subprocess.run(search, capture_output=True, text=True, check=False).stdout.split()
    [patterns] = re.findall(r"\$\(wildcard (.*?)\)", text("Makefile"))
    for lock in found:
        depth = [each for each in patterns.split() if each.count("/") == lock.count("/")]
        assert any(fnmatch(lock, each) for each in depth), lock
    assert "make audit" in text(".github/workflows/audit.yml")
    assert "schedule:" in text(".github/workflows/audit.yml")


def licenses(lock: Path) -> subprocess.CompletedProcess[str]:
    script = PROJECT_ROOT / "deploy" / "licenses.py"
    command = [sys.executable, str(script), str(lock)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_image_hands_out_known_licenses_only(tmp_path: Path) -> None:
    done = licenses(PROJECT_ROOT / RUNTIME)
    assert done.returncode == 0, done.stderr
    for line in ("psycopg 3", "PostgreSQL, in the package", "Debian's packages", "  libpq-"):
        assert f"\n{line}" in done.stdout
    named = tomllib.loads(text("deploy/licenses.toml"))["packages"]
    assert set(named) <= names(list(locked(RUNTIME))), "a package that is no longer installed"

    other = tmp_path / "other.lock"  # of Mozilla's license, and not named
    other.write_text(text(RUNTIME) + "\nhypothesis==1.0\n")
    refused = licenses(other)
    assert refused.returncode == 1
    assert "does not allow: hypothesis 6" in refused.stderr
    assert "certifi" not in refused.stderr
