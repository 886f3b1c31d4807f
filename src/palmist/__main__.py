"""`python -m palmist`, where the command `palmist` is not on the path."""

from palmist.cli import main

main()
