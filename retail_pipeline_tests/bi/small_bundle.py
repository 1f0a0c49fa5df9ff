"""A bundle of two charts on one table, as files to edit."""

from pathlib import Path

from retail_pipeline.postgres import Database, Role

FILES = {
    "databases/warehouse.yaml": """
database_name: Warehouse
allow_dml: false
allow_csv_upload: false
expose_in_sqllab: true
extra: {}
""",
    "datasets/days.yaml": """
schema: warehouse
table_name: days
columns:
  - {column_name: date_day, is_dttm: true}
  - {column_name: country}
metrics:
  - {metric_name: revenue, expression: sum(net_amount), d3format: money}
""",
    "charts/total.yaml": """
slice_name: Total
viz_type: big_number_total
dataset: days
params: {metric: revenue}
""",
    "charts/by_country.yaml": """
slice_name: By country
viz_type: table
dataset: days
params: {query_mode: aggregate, groupby: [country], metrics: [revenue]}
""",
    "dashboards/shop.yaml": """
dashboard_title: Shop
slug: shop
filters:
  - {name: Country, dataset: days, column: country}
layout:
  - heading: All
  - {height: 20, charts: {total: 4, by_country: 8}}
""",
}


def write(folder: Path, **changes: str) -> Path:
    """Write the files, with other texts for some (`charts__total`), and return the folder."""
    texts = {**FILES, **{f"{key.replace('__', '/')}.yaml": text for key, text in changes.items()}}
    for path, text in texts.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip())
    return folder


def make_table(database: Database) -> None:
    """Create the table that the files show, and one of personal data."""
    database.migrate(repair=True)
    transformer = database.as_role(Role.TRANSFORMER)
    transformer.execute(
        "create table warehouse.days (date_day date, country text, net_amount numeric)"
    )
    transformer.execute("insert into warehouse.days values ('2024-01-01', 'DE', 10)")
    transformer.execute("create table warehouse.fct_transactions as select 'GBP' as currency")
