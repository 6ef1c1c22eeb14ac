"""`python -m concise_rl.cli` is `concise-rl`."""

from concise_rl.cli import main

main()
