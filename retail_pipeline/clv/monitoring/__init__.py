"""The served model, looked after: why it says what it says, and whether it still fits.

A part of the room `clv`, beside the modelling: a change here fits no model anew. Only `assets` and
`checks` know Dagster.
"""
