# One image for all services; docker-compose.yml has the command of each service.
FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/retail
COPY requirements.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r requirements.lock
COPY . .
# Editable, because dbt_project, airbyte and database are read from the checkout beside the package.
# The manifest is prepared here, because the services cannot write into the image.
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --editable . \
    && DBT_SEND_ANONYMOUS_USAGE_STATS=false /opt/venv/bin/python -c \
    "from retail_pipeline.warehouse.project import prepare_manifest; prepare_manifest()" \
    && chmod -R a+rX,go-w /srv/retail

FROM python:3.12-slim-bookworm
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/retail retail \
    && install --directory --owner retail --group retail --mode 0750 /var/lib/retail
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
USER retail
VOLUME /var/lib/retail
CMD ["retail-pipeline", "--help"]
