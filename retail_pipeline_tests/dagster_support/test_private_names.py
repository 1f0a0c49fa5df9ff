"""Only one package imports private names of Dagster, so a new release can break no other."""

import re

from retail_pipeline.settings import PROJECT_ROOT

PRIVATE = re.compile(r"\b(?:from|import) dagster\w*(?:\.\w+)*\._\w+")


def test_private_names_of_dagster_are_in_one_package() -> None:
    package = PROJECT_ROOT / "retail_pipeline"
    users = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if PRIVATE.search(path.read_text())
    }
    assert users == {"dagster_support"}
