"""The bench of drops: its sample, its check, and the labels that are in the repository."""

import re
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smollm3_mix.text.filters.reasons import REASONS

BENCH = Path(__file__).parent.parent / "bench"
sys.path.insert(0, str(BENCH))
import drops  # noqa: E402 - it is outside the package

HEAD = "rules\tsource\tid\treason\tverdict\tnote\n"
GOOD = [f"Theorem {n}. Every square of an even number is even, and so are {n} of them." for n in range(9)]
BAD = [f"{'0 ' * 50}{n}" for n in range(9)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "finemath" / "finemath-3plus"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"text": [*GOOD, *BAD, BAD[0], None]}), folder / "a.parquet")
    (tmp_path / "labels.tsv").write_text(HEAD, encoding="utf-8")
    return tmp_path


def run(corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    """Return what the command prints about the one source, and its exit code."""
    labels = ["--labels", str(corpus / "labels.tsv")]
    monkeypatch.setattr(sys, "argv", ["drops.py", str(corpus), "--sources", "finemath", *labels, *more])
    code = drops.main()
    return [*capsys.readouterr().out.splitlines()[2:], str(code)]


def test_the_labels_are_whole_and_nine_in_ten_are_right() -> None:
    head, *lines = (BENCH / "drops.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [line.rstrip("\n").split("\t") for line in lines]
    assert head == HEAD
    assert {len(row) for row in rows} == {6}
    origins = {each for each, _, _ in drops.origins()}
    for rules, source, name, reason, label, note in rows:
        assert rules in ("shipped", "published")
        assert source in origins
        assert re.fullmatch("[0-9a-f]{16}", name)
        assert reason in REASONS
        assert label in ("right", "wrong")
        assert 1 <= len(note.split()) <= 5
    assert max(Counter(tuple(row[:3]) for row in rows).values()) == 1
    shipped = [(row[1], row[4]) for row in rows if row[0] == "shipped"]
    for source in {source for source, _ in shipped}:
        decisions = [label for each, label in shipped if each == source]
        assert decisions.count("right") >= drops.RIGHT * len(decisions), source


def test_copies_count_once_and_the_sample_is_fixed_by_seed_and_text(corpus, monkeypatch, capsys):
    whole = run(corpus, monkeypatch, capsys, "--show", "20")
    assert whole[0] == "| finemath | math | 18 | 9 | 50.00% | 0 | – | top_2gram 9 |"
    ids = re.findall("=== finemath ([0-9a-f]{16}) top_2gram", "\n".join(whole))
    assert len(set(ids)) == 9
    few = run(corpus, monkeypatch, capsys, "--show", "20", "--per-source", "4")
    assert re.findall("=== finemath ([0-9a-f]{16})", "\n".join(few)) == ids[:4]
    other = run(corpus, monkeypatch, capsys, "--show", "20", "--seed", "1")
    again = re.findall("=== finemath ([0-9a-f]{16})", "\n".join(other))
    assert (sorted(again), again != ids) == (sorted(ids), True)


@pytest.mark.parametrize(
    ("labelled", "wrong", "printed"),
    [
        (9, 0, ["Every sampled drop has a label; of each source at least 90% are right.", "0"]),
        (8, 0, ["finemath: of 9 drops, 1 have no label and 0 are wrong", "1"]),
        (9, 1, ["finemath: of 9 drops, 0 have no label and 1 are wrong", "1"]),
    ],
)
def test_check_wants_a_label_for_each_and_nine_in_ten_right(corpus, monkeypatch, capsys, labelled, wrong, printed):
    shown = "\n".join(run(corpus, monkeypatch, capsys, "--show", "20"))
    ids = re.findall("=== finemath ([0-9a-f]{16})", shown)[:labelled]
    decisions = ["wrong"] * wrong + ["right"] * (labelled - wrong)
    rows = [f"shipped\tfinemath\t{name}\ttop_2gram\t{v}\tzeros\n" for name, v in zip(ids, decisions, strict=True)]
    (corpus / "labels.tsv").write_text(HEAD + "".join(rows), encoding="utf-8")
    assert run(corpus, monkeypatch, capsys, "--check")[1:] == printed


def test_a_folder_that_is_no_corpus_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "labels.tsv").write_text(HEAD, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, monkeypatch, capsys)
    shown = f"{tmp_path} has no Parquet files in finemath/finemath-3plus; name the folder that holds it"
    assert str(caught.value) == shown
