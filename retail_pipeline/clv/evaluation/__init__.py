"""Out-of-time tests of the models, metrics, intervals, and the choice of the champion."""
