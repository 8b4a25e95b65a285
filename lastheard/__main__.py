"""`python -m lastheard` is the `lastheard` command."""

from lastheard.cli import main

main()
