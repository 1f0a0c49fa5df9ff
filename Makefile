# The whole set-up: `make run` and `make test` build .venv from requirements.lock by themselves.
# They need make and python3 (3.11 to 3.13), nothing else; PYTHON=python3.12 chooses another one.

PYTHON ?= python3
export DBT_SEND_ANONYMOUS_USAGE_STATS = false
export DAGSTER_DISABLE_TELEMETRY = true
.DEFAULT_GOAL := run
.PHONY: run test dev bench lint clean

run: .venv
	@.venv/bin/retail-pipeline run

test: .venv
	@.venv/bin/python -m pytest

dev: .venv
	@.venv/bin/retail-pipeline dev

bench: .venv
	@.venv/bin/retail-pipeline bench

lint: .venv
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache
	@.venv/bin/check-jsonschema -q --builtin-schema vendor.compose-spec docker-compose.yml
	@.venv/bin/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/ci.yml
	@.venv/bin/sqlfluff lint --disable-progress-bar dbt_project/models dbt_project/tests/marts database \
		examples/open_shop/dbt_project

# Stops what is running for this checkout and removes what it made: state, then the environment.
clean:
	@if [ -x .venv/bin/retail-pipeline ]; then .venv/bin/retail-pipeline reset --yes; fi
	rm -rf .venv .pytest_cache .hypothesis .mypy_cache .ruff_cache dbt_project/target dbt_project/.prepared dbt_project/logs

.venv: .venv/.installed

# The mark is written last: an interrupted set-up starts again. It bears the lock's time, so a new
# lock installs and a second run installs nothing.
.venv/.installed: requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh .ci/install
	@touch $@
