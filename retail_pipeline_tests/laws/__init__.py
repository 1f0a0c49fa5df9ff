"""The nine laws of the pipeline, one test module each (law 7 has two).

No change may weaken a law. The tests use tables, files, commands and predictions only, never the
code that keeps the law, so they stay valid when that code is rewritten.

1. The marts are a function of the landed records, the versions seen and the as-of date: any
   sequence of syncs and builds, killed and partial ones between, gives the tables of one full
   refresh. `RETAIL_TEST_SCHEDULES=50` tries fifty random histories.
2. Nothing recorded on or after D changes a feature, label, prediction or margin as of D, to the
   bit. `RETAIL_TEST_EXAMPLES=20` tries twenty sets of changes.
3. `run` and `evaluate` give the same predictions, to the bit.
4. After any kill, any restart or a full disk, another run gives the tables of an undisturbed run.
   `RETAIL_TEST_FAULTS=all` tries all faults; `RETAIL_TEST_KILLS=20` kills syncs
   (`airbyte_engine/test_faults.py`).
5. After `forget`, no table, file, log, cache or event holds the person, and no sync brings them
   back.
6. Each role can do its part and nothing else; no login below the owner can make the owner's session
   run its code.
7. Records served = rows + rejected + suppressed; money served = money landed + money rejected; what
   was rejected or excluded is printed.
8. The golden graph: keys, dependencies, groups, checks and jobs; definitions load in a fresh
   interpreter with nothing running.
9. A prediction does not depend on the unit of money, on the number of threads or on the order of
   rows.
"""
