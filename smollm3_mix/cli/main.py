"""The command `smollm3-mix`.

Exit codes: 0 done; 1 it could not be done, or `verify` found a fault; 2 the command line cannot be meant; 130
interrupted.
"""

import logging
import sys
from collections.abc import Sequence

from smollm3_mix.cli.parser import build_parser
from smollm3_mix.cli.process_info import printed
from smollm3_mix.errors import MixError

RESUMED = ("write", "index", "push")
"""Verbs that go on after a stop where they were."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of one command line; messages go to standard error, results to standard output."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s - %(levelname)s - %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        stream=sys.stderr,
    )
    for client in ("httpx", "httpx2"):  # one line for each request says nothing to a user
        logging.getLogger(client).setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub").propagate = False  # it prints what it says by itself
    try:
        code = int(options.run(options))
    except MixError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    except KeyboardInterrupt:
        kept = " What was finished is kept; the same command goes on from there." if options.verb in RESUMED else ""
        sys.stderr.write(f"Interrupted.{kept}\n")
        return 130
    printed()
    return code
