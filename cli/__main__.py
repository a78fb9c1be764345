"""`python -m steadystyle.cli`: what torchrun and another machine start."""

from . import main

main()
