"""A key that can be guessed, and would reveal forgotten ids, is refused from every source."""

from pathlib import Path

import pytest

from retail_pipeline.errors import PipelineError, UsageError
from retail_pipeline.privacy.suppression import SuppressionKey
from retail_pipeline.settings import Settings


@pytest.mark.parametrize("key", ["x", "short-key", "0123456789abcde"])
def test_a_short_suppression_key_is_refused_unseen(key: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(key)
    for environment in (
        {"RETAIL_SUPPRESSION_KEY": key},
        {"RETAIL_SUPPRESSION_KEY_FILE": str(tmp_path / "key")},
    ):
        with pytest.raises(UsageError, match="RETAIL_SUPPRESSION_KEY must have at least") as error:
            Settings.from_environment(environment)
        assert len(key) == 1 or key not in str(error.value)


def test_a_short_key_in_the_key_file_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    made = SuppressionKey.of(settings, create=True)
    assert SuppressionKey.of(settings, create=True) == made
    (tmp_path / "suppression.key").write_text("x")
    with pytest.raises(PipelineError, match="fewer than 32 characters"):
        SuppressionKey.of(settings)
