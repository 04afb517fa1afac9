"""`smollm3-mix verify`: recount a written mix from its files."""

import argparse
import sys

from smollm3_mix.report.tables import shares_table
from smollm3_mix.table_format import plain_table
from smollm3_mix.verification.verify_mix import verify as verify_mix

SUMMARY = "Recount a written mix from its files. Exit with 1 if there are problems."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.add_argument("output_dir", metavar="DIR", help="folder of a finished mix")
    command.add_argument(
        "--report", metavar="FILE.html", help="write an HTML page with shares, discrepancies, drops and examples"
    )
    command.add_argument(
        "--dropped", metavar="DIR", help="show examples from the folder of `write --keep-dropped` in the page"
    )


def verify(arguments: argparse.Namespace) -> int:
    """Print the recounted shares and every problem. Return 1 if there are problems."""
    report = verify_mix(arguments.output_dir, report=arguments.report, dropped=arguments.dropped)
    sys.stdout.write(plain_table(shares_table(report.rows, report.recipe.weigh_by)) + "\n")
    for problem in report.problems:
        sys.stdout.write(f"ERROR: {problem}\n")
    if report.note:
        sys.stdout.write(f"{report.note}\n")
    count = len(report.problems)
    found = f"{count:,} problem{'' if count == 1 else 's'}" if count else "no problems found"
    sys.stdout.write(f"Verified {report.files:,} file{'' if report.files == 1 else 's'}: {found}.\n")
    return 0 if report.ok else 1
