"""The command line: each command parses, calls one use case of a lower room, and renders.

Start-up time is a feature: `cryofw.cli.main` imports click and the table in `commands.py`, and
nothing else; the module of a command is imported when that command runs.
"""
