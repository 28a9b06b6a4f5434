"""`python -m greenroom.cli`, where the program `greenroom` is not on PATH."""

from greenroom.cli import main

main()
