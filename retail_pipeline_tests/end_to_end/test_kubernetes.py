"""deploy/kubernetes: the services of docker-compose.yml, hardened, as a cluster accepts them."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from retail_pipeline.settings import PROJECT_ROOT, Settings

FOLDER = PROJECT_ROOT / "deploy" / "kubernetes"
MANIFESTS = ("cluster.yaml", "dagster-services.yaml", "dashboards.yaml", "network.yaml")
RUN_SECRETS = {"database_url", "api_key", "suppression_key"}
"""Secrets of a run, which in Compose is a process of the code location."""


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def pods() -> dict[str, dict[str, Any]]:
    """Return the pods of the services by name."""
    found = [each for name in MANIFESTS for each in documents(name)]
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in found
        if each["kind"] in ("Deployment", "Job")
    }


def secrets(pod: dict[str, Any]) -> set[str]:
    volumes = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
    return {
        source["secret"]["name"].replace("-", "_")
        for volume in volumes
        for source in volume["projected"]["sources"]
    }


def written(text: Any) -> str:
    """Return a text of the Compose file with the defaults of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(text))


def test_services_are_those_of_compose() -> None:
    services = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())["services"]
    found = pods()
    assert found.keys() == services.keys() - {"postgres", "network", "retail-api"}
    for name, pod in found.items():
        (container,) = pod["containers"]
        assert container["command"] == [written(part) for part in services[name]["command"]], name
        assert secrets(pod) == set(services[name]["secrets"]), name


def test_the_instance_is_that_of_other_places_but_for_the_launcher() -> None:
    own, other = documents("dagster.yaml")[0], PROJECT_ROOT / "deploy" / "dagster.yaml"
    launcher = own.pop("run_launcher")["config"]
    assert own == yaml.safe_load(other.read_text())
    pod = launcher["run_k8s_config"]["pod_spec_config"]
    assert secrets(pod) == RUN_SECRETS


def test_settings_are_settings() -> None:
    (settings,) = [
        each["data"] for each in documents("cluster.yaml") if each["kind"] == "ConfigMap"
    ]
    secret = {name for name in settings if name.endswith("_FILE")}
    plain = {name: settings[name] for name in settings.keys() - secret}
    assert secret == {"RETAIL_DATABASE_URL_FILE", "RETAIL_API_KEY_FILE"}
    assert plain.pop("CODE_LOCATION_HOST") == "code-location"
    assert plain.pop("SPARK_CONF_DIR") == "/etc/spark"
    given = {"RETAIL_DATABASE_URL": "postgresql://localhost/retail"}
    given |= dict.fromkeys(["RETAIL_API_KEY"], "any")
    assert Settings.from_environment({**plain, **given}).engine.value == "spark"


def containers() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the name, the pod and the container of all pods, Spark's included."""
    all_pods = {**pods(), "executor": documents("executor.yaml")[0]["spec"]}
    for name, pod in all_pods.items():
        for container in pod["containers"]:
            yield name, pod, container


def test_no_pod_has_more_rights_than_it_needs() -> None:
    for name, pod, container in containers():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        is_spark = name == "executor"  # Spark sets the memory of its executors
        assert is_spark or container["resources"].keys() == {"requests", "limits"}, name
        needs_cluster = name in ("webserver", "daemon")
        assert pod.get("automountServiceAccountToken", True) == needs_cluster, name


@pytest.fixture
def tools() -> Path:
    """The environment of `make .venv-kubernetes/.installed`."""
    environment = os.environ.get("RETAIL_TEST_KUBERNETES")
    if not environment:
        pytest.skip("no environment is named: make .venv-kubernetes/.installed")
    return Path(environment).absolute() / "bin"


@pytest.mark.parametrize("name", [*MANIFESTS, "executor.yaml"])
def test_manifests_fit_the_schemas_of_kubernetes(tools: Path, name: str) -> None:
    accepted(tools, FOLDER / name)


def test_the_job_of_a_run_fits_the_schema_and_is_as_hardened(tools: Path, tmp_path: Path) -> None:
    script = Path(__file__).with_name("kubernetes_job.py")
    command = [str(tools / "python"), str(script), str(FOLDER / "dagster.yaml")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (job := tmp_path / "job.yaml").write_text(printed)
    accepted(tools, job)
    pod = yaml.safe_load(printed)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert [*container["command"], *container["args"]][:5] == [
        *("retail-pipeline", "exec", "dagster", "api", "execute_run")
    ]
    assert pod["securityContext"]["runAsNonRoot"] and pod["serviceAccountName"] == "run"
    assert container["securityContext"]["readOnlyRootFilesystem"]


def accepted(tools: Path, manifest: Path) -> None:
    command = [str(tools / "kubernetes-validate"), "--strict", str(manifest)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
