"""Run `python -m smollm3_mix.merge_datasets`, which is the command `smollm3-mix merge`."""

import sys

from smollm3_mix.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["merge", *sys.argv[1:]]))
