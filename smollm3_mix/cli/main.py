"""The command `smollm3-mix`.

Exit codes: 0 success, 1 failure or a failed verification, 2 invalid command line, 130 interrupted.
"""

import logging
import sys
from collections.abc import Sequence

from smollm3_mix.cli.parser import build_parser
from smollm3_mix.cli.process_info import printed
from smollm3_mix.errors import MixError

RESUMED = ("write", "index", "push")
"""Commands that resume when they are repeated after an interruption."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code. Messages go to standard error, results to standard output."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s - %(levelname)s - %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        stream=sys.stderr,
    )
    for client in ("httpx", "httpx2"):  # a line per request is of no use to users
        logging.getLogger(client).setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub").propagate = False  # it has a handler of its own
    try:
        code = int(options.run(options))
    except MixError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        kept = " Finished work is kept. Repeat the same command to resume." if options.command in RESUMED else ""
        sys.stderr.write(f"Interrupted.{kept}\n")
        return 130
    printed()
    return code
