# All targets first build .venv from requirements.lock if needed. They need only make and python3
# (3.11 to 3.13); PYTHON=python3.12 selects another Python.

PYTHON ?= python3
BY_HASH = install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes
export DBT_SEND_ANONYMOUS_USAGE_STATS = false
export DAGSTER_DISABLE_TELEMETRY = true
.DEFAULT_GOAL := run
.PHONY: run test dev dashboards airflow-env spark bench lint coverage docs sbom audit clean

run: .venv
	@.venv/bin/retail-pipeline run

test: .venv
	@.venv/bin/python -m pytest

dev: .venv
	@.venv/bin/retail-pipeline dev

# Superset with the dashboards; the first time it is installed in an environment of its own.
dashboards: .venv
	@.venv/bin/retail-pipeline bi up

# Airflow in an environment of its own (deploy/airflow/README.md).
AIRFLOW_ENV = "$${RETAIL_HOME:-.retail}/airflow/venv"
airflow-env:
	@umask 077; "$(PYTHON)" -m venv $(AIRFLOW_ENV)
	@$(AIRFLOW_ENV)/bin/python -m pip $(BY_HASH) -r deploy/airflow/requirements.lock
	@echo $(AIRFLOW_ENV)

# DuckDB and Spark in an environment of their own; Spark needs Java 17 (docs/scaling.md, "Other engines").
# pyspark is a source package: what builds it is installed first, by hash.
SPARK_ENV = "$${RETAIL_HOME:-.retail}/spark/venv"
spark:
	@umask 077; "$(PYTHON)" -m venv $(SPARK_ENV)
	@$(SPARK_ENV)/bin/python -m pip $(BY_HASH) -r deploy/spark/build.lock
	@$(SPARK_ENV)/bin/python -m pip $(BY_HASH) --no-binary pyspark --no-build-isolation \
		-r deploy/spark/requirements.lock
	@echo $(SPARK_ENV)

bench: .venv
	@.venv/bin/retail-pipeline bench

lint: .venv
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache
	@.venv/bin/check-jsonschema -q --builtin-schema vendor.compose-spec docker-compose.yml
	@.venv/bin/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv/bin/check-jsonschema -q --builtin-schema vendor.dependabot .github/dependabot.yml
	@.venv/bin/sqlfluff lint --disable-progress-bar dbt_project/models dbt_project/tests/marts database \
		examples/open_shop/dbt_project examples/shopify_tables/dbt_project

# The tests with the share of lines that they reach; fails below the floor in pyproject.toml.
coverage: .venv
	@.venv/bin/python -m pytest --cov --cov-report=term:skip-covered --cov-report=xml

# The docs as a site in site/, with an environment of its own; fails on a dead link.
docs: .venv-docs/.installed
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict
	@echo "site/index.html"

.venv-docs/.installed: .ci/docs.txt
	@"$(PYTHON)" -m venv .venv-docs
	@.venv-docs/bin/python -m pip $(BY_HASH) -r .ci/docs.txt
	@touch $@

# What the image installs, as a bill of materials: equal locks give equal files.
sbom: .venv-audit/.installed
	@.venv-audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file sbom.cdx.json requirements-runtime.lock
	@echo sbom.cdx.json

# Known vulnerabilities of everything that a lock installs; fails if there is one.
audit: .venv-audit/.installed
	@.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		$(foreach lock,$(wildcard *.lock */*.lock */*/*.lock .ci/*.txt),-r $(lock))

.venv-audit/.installed: .ci/audit.txt
	@"$(PYTHON)" -m venv .venv-audit
	@.venv-audit/bin/python -m pip $(BY_HASH) -r .ci/audit.txt
	@touch $@

# An object store for the tests of the lake: RETAIL_TEST_S3=.venv-store/bin/moto_server.
.venv-store/.installed: .ci/store.txt
	@"$(PYTHON)" -m venv .venv-store
	@.venv-store/bin/python -m pip $(BY_HASH) -r .ci/store.txt
	@touch $@

# What the test of deploy/kubernetes needs: RETAIL_TEST_KUBERNETES=.venv-kubernetes.
.venv-kubernetes/.installed: .ci/kubernetes.txt deploy/kubernetes/requirements.lock
	@"$(PYTHON)" -m venv .venv-kubernetes
	@.venv-kubernetes/bin/python -m pip $(BY_HASH) -r deploy/kubernetes/requirements.lock
	@.venv-kubernetes/bin/python -m pip $(BY_HASH) -r .ci/kubernetes.txt
	@touch $@

# Stops the checkout's PostgreSQL and removes all state, then the environment and caches.
clean:
	@if [ -x .venv/bin/retail-pipeline ]; then .venv/bin/retail-pipeline reset --yes; fi
	rm -rf .venv .venv-docs .venv-audit .venv-store .venv-kubernetes sbom.cdx.json site .coverage coverage.xml .pytest_cache .hypothesis .mypy_cache .ruff_cache dbt_project/target dbt_project/.prepared dbt_project/logs

.venv: .venv/.installed

# This file is touched last, so an interrupted installation starts again. Make compares its time with
# that of the lock: a new lock is installed, and a second run installs nothing.
.venv/.installed: requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh .ci/install
	@touch $@
