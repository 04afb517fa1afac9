"""Records, windows, tokens and dropped rows are what they were: each case against the digests in fixtures/golden.json.

`python tests/test_golden.py --write` records new digests. A change that alters them is a line under *Order* in the
changelog.
"""

import json
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from golden_cases import CASES, Case
from golden_data import FILES, FIXTURES, rows
from golden_resumes import RESUMES

VALUES = FIXTURES.with_suffix(".json")


@pytest.mark.parametrize("case", [*CASES, *RESUMES], ids=lambda case: case.__name__)
def test_output_is_unchanged(case: Case, tmp_path: Path) -> None:
    expected = json.loads(VALUES.read_text("utf-8"))
    assert case(tmp_path) == expected[case.__name__]


def test_every_stored_digest_has_a_case() -> None:
    assert set(json.loads(VALUES.read_text("utf-8"))) == {case.__name__ for case in (*CASES, *RESUMES)}


def test_stored_parquet_files_hold_the_rows_of_source_a() -> None:
    stored = [row for file in FILES if file.startswith("a/") for row in pq.read_table(FIXTURES / file).to_pylist()]
    assert stored == rows("a")


def record() -> None:
    """Write the digests of today's outputs."""
    found = {}
    for case in (*CASES, *RESUMES):
        with tempfile.TemporaryDirectory() as folder:
            found[case.__name__] = case(Path(folder))
    VALUES.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python tests/test_golden.py --write")
    record()
