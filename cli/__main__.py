"""`python -m steadystyle.cli`, for torchrun and remote machines."""

from . import main

main()
