"""The command `retail-pipeline`, one module per group; a command calls one package's function."""
