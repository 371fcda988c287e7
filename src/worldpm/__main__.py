"""`python -m worldpm`: the command line."""

from worldpm.cli.app import main

main()
