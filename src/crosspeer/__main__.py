"""`python -m crosspeer`: the command line."""

from crosspeer.cli import main

main()
