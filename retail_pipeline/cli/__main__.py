"""`python -m retail_pipeline.cli`: the command `retail-pipeline` without an installed script."""

from retail_pipeline.cli.main import main

main()
