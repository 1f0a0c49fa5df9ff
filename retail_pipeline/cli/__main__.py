"""`python -m retail_pipeline.cli`: the same command without its installed script."""

from retail_pipeline.cli.main import main

main()
