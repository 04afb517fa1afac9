"""`python -m smollm3_mix` is the command `smollm3-mix`."""

import sys

from smollm3_mix.cli.main import main

if __name__ == "__main__":  # worker processes import this module again
    sys.exit(main())
