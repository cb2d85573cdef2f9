"""`python -m vhdxreader`."""

from .cli import main

main()
