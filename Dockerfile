# One image for all services but those of the dashboards; docker-compose.yml has the command of each service.
# Bases are pinned by digest and renewed by Dependabot (docs/operations.md, "Supply chain"); all else by hash.
FROM python:3.12-slim-bookworm@sha256:34386ef0cb081344d7ec1c103ba398e6e9f64e9ab3a1509accc92a4e24a07258 AS build
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/retail
# The tools that install and build are in an environment of their own, which stays behind.
COPY .ci/build.txt /opt/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-deps --only-binary :all: --require-hashes -r /opt/build.txt
COPY requirements-runtime.lock ./
RUN python -m venv --without-pip /opt/venv \
    && /opt/build/bin/uv pip install --python /opt/venv/bin/python --no-deps --no-build --require-hashes \
       -r requirements-runtime.lock \
    && /opt/build/bin/uv pip check --python /opt/venv/bin/python
COPY . .
# Editable, because dbt_project, airbyte and database are read from the checkout beside the package.
# The manifest is prepared here, because the services cannot write into the image. A package whose license
# deploy/licenses.toml does not allow ends the build.
RUN rm -r .ci && /opt/build/bin/hatchling build -t wheel:editable -d /opt/wheel \
    && /opt/build/bin/uv pip install --python /opt/venv/bin/python --no-deps /opt/wheel/*.whl \
    && /opt/venv/bin/python deploy/licenses.py requirements-runtime.lock > THIRD-PARTY.txt \
    && DBT_SEND_ANONYMOUS_USAGE_STATS=false /opt/venv/bin/python -c \
    "from retail_pipeline.warehouse.project import prepare_manifest; prepare_manifest()" \
    && chmod -R a+rX,go-w /srv/retail

# Superset's environment, by the command of `retail-pipeline bi up`: from its locks, by hash.
FROM build AS superset-build
RUN PATH=/opt/build/bin:$PATH /opt/venv/bin/python -c "from pathlib import Path; \
    from retail_pipeline.bi.superset import Superset; Superset(Path('/opt/superset')).install()"

FROM python:3.12-slim-bookworm@sha256:34386ef0cb081344d7ec1c103ba398e6e9f64e9ab3a1509accc92a4e24a07258 AS runtime
# Nothing here can install a package: Python's own pip goes too.
RUN rm -rf /usr/local/lib/python3.12/site-packages/* /usr/local/lib/python3.12/ensurepip /usr/local/bin/pip* \
    && useradd --uid 10001 --no-create-home --home-dir /var/lib/retail retail \
    && install --directory --owner retail --group retail --mode 0700 /var/lib/retail /var/lib/retail/superset
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/retail /srv/retail
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DAGSTER_DISABLE_TELEMETRY=true \
    DBT_SEND_ANONYMOUS_USAGE_STATS=false \
    MPLCONFIGDIR=/tmp/matplotlib \
    RETAIL_HOME=/var/lib/retail
WORKDIR /srv/retail
USER 10001
VOLUME /var/lib/retail
CMD ["retail-pipeline", "--help"]

# The services `dashboards` and `superset` have Superset besides.
FROM runtime AS superset
COPY --from=superset-build /opt/superset/venv /opt/superset/venv

# The last stage is the image that a build makes when it names none.
FROM runtime
