"""Out-of-time tests of the models, their metrics, the choice of the champion, intervals."""
