"""Prints the Job of a run, as the launcher of deploy/kubernetes/dagster.yaml makes it."""

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import yaml
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import ApiClient

CLUSTER = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: none, user: {}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
"""


with tempfile.TemporaryDirectory() as folder:
    (cluster := Path(folder, "config")).write_text(CLUSTER)
    given = yaml.safe_load(Path(sys.argv[1]).read_text())["run_launcher"]["config"]
    outside = {"load_incluster_config": False, "kubeconfig_file": str(cluster)}
    launcher = K8sRunLauncher(**given, **outside)
    run = SimpleNamespace(tags={}, job_code_origin=None, remote_job_origin=None)
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=False)
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(given["job_image"], launcher),
        args=["dagster", "api", "execute_run", "{}"],
        job_name="run",
        pod_name="run",
        component="run_worker",
        user_defined_k8s_config=context.run_k8s_config,
    )
manifest = ApiClient().sanitize_for_serialization(job)
sys.stdout.write(yaml.safe_dump({**manifest, "apiVersion": "batch/v1", "kind": "Job"}))
