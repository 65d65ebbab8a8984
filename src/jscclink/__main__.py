"""`python -m jscclink` is the `jscclink` command."""

from jscclink.simulator.cli import main

main()
