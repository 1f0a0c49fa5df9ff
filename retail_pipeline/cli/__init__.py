"""The command `retail-pipeline`: one module per command group; each calls one room's function."""
