"""`python -m cryofw.cli`: the same as `cryofw`."""

from cryofw.cli.main import main

main()
