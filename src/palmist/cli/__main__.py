"""`python -m palmist.cli`."""

from palmist.cli import main

main()
