"""The HTML page of `verify --report`: its content, its safety, and how a browser renders it."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import document, parquet
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.cli.main import main
from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import DiscrepancyTracker
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.model import Source
from smollm3_mix.recipe.recipe import Recipe
from smollm3_mix.report.evidence import LENGTH_BINS, POINTS, Evidence, dropped_examples
from smollm3_mix.report.source_rows import source_rows
from smollm3_mix.schema import RECORD_SCHEMA
from smollm3_mix.verification.verify_mix import verify

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'text' \u202e right to left </pre><img src=x onerror=alert(2)>"


@pytest.fixture
def mix(recipe_file, tmp_path):
    write(recipe_file(description=HOSTILE), tmp_path / "mix")
    return tmp_path / "mix"


@pytest.fixture
def dropped(tmp_path):
    rows = {"text": [HOSTILE] * 9, "source": list("aaabbbccc"), "id": [f"id-{n}" for n in range(9)]}
    rows |= {"file": ["<b>file</b>"] * 9, "row": list(range(9)), "reason": ["too_short", "duplicate", "<i>why</i>"] * 3}
    rows["text"] = [f"{text} {number}" for number, text in enumerate(rows["text"])]
    (tmp_path / "dropped/lane").mkdir(parents=True)
    pq.write_table(pa.table(rows), tmp_path / "dropped/lane/0.parquet")
    return tmp_path / "dropped"


class Elements(HTMLParser):
    """Tags, attributes and text of a page. Fails if tags are not closed in order."""

    EMPTY = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *each) for each in attrs]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *each) for each in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_report_shows_shares_discrepancies_drops_lengths_and_texts(mix, dropped, tmp_path, capsys):
    assert main(["verify", str(mix), "--report", str(tmp_path / "page.html"), "--dropped", str(dropped)]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    found = Elements(page)
    text = " ".join(found.text)
    report = verify(mix)
    for row in report.rows:
        assert f"{row.target:.4%}" in text
        assert f"{row.actual:.4%}" in text
        assert page.count(f'aria-label="Discrepancy of {row.source}: at most') == 1
        assert page.count(f'aria-label="Lengths of {row.source}: {row.records:,} documents') == 1
    drops = json.loads((mix / "stats.json").read_bytes())["splits"]["train"]["total"]["dropped"]
    assert all(reason in text for reason in drops)
    assert "Recounted from the files: no problems found." in text
    first = pq.read_table(mix / "data", filters=[("source", "==", "c")])
    assert sum(each in page for each in first["id"].to_pylist()) >= 3
    assert page.count('<article class="dropped">') == 9


def test_verify_uses_longest_pending_document_for_bounds(recipe_file, tmp_path):
    file = recipe_file(sources={"c": {"weight": 0.001}}, lanes=1)
    parquet(tmp_path / "sources/c", [document("c", n) * 100 for n in range(9)], files=1)
    written = write(file, tmp_path / "mix", max_tokens=5000)
    report = verify(written)
    assert report.problems == ()
    assert report.stats["train"].sources["c"].emitted == 0
    assert list(report.rows) == source_rows(report.recipe, written.stats["train"])
    assert all(row.discrepancy <= row.bound for row in report.rows)


def test_report_escapes_texts(mix, dropped, tmp_path):
    verify(mix, report=tmp_path / "page.html", dropped=dropped)
    found = Elements((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert not {"script", "img", "link", "iframe", "i", "b", "object"} & set(found.tags)
    assert [each for each in found.attributes if each[1].startswith("on") or each[1] in ("src", "srcset")] == []
    assert all(value.startswith("#") for _, name, value in found.attributes if name == "href")
    assert "url(" not in "".join(found.text)
    assert HOSTILE in "".join(found.text)


def test_report_lists_problems(mix, tmp_path):
    path = next((mix / "data").iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    report = verify(mix, report=tmp_path / "page.html")
    text = " ".join(Elements((tmp_path / "page.html").read_text(encoding="utf-8")).text)
    assert report.problems
    assert all(problem in text for problem in report.problems)
    assert f"Recounted from the files: {len(report.problems)} problem" in text


def test_report_is_deterministic(mix, dropped, tmp_path):
    for name in ("one", "two"):
        verify(mix, report=tmp_path / name, dropped=dropped)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_report_raises_on_invalid_input(mix, tmp_path):
    with pytest.raises(OutputError, match=r"is not a written mix \(it has no data\)"):
        verify(tmp_path, report=tmp_path / "page.html")
    with pytest.raises(
        OutputError, match=r"has no Parquet files of dropped documents\. Name the folder of `write --keep-dropped`\."
    ):
        verify(mix, report=tmp_path / "page.html", dropped=tmp_path / "sources/b")
    with pytest.raises(OutputError, match=r"has no column 'source', expected text, source, id, file, row, reason\."):
        verify(mix, report=tmp_path / "page.html", dropped=tmp_path / "sources/a")
    with pytest.raises(OutputError, match="cannot write the report"):
        verify(mix, report=tmp_path)


def test_dropped_examples_selects_a_fixed_number_per_reason(tmp_path):
    rows = 500
    table = {"text": [f"text {n}" for n in range(rows)], "source": ["a"] * rows, "id": [str(n) for n in range(rows)]}
    table |= {"file": ["f"] * rows, "row": list(range(rows)), "reason": [("x", "y")[n % 2] for n in range(rows)]}
    for order in (1, -1):  # the order of the rows does not matter
        (tmp_path / str(order)).mkdir()
        pq.write_table(pa.table({k: v[::order] for k, v in table.items()}), tmp_path / str(order) / "0.parquet")
    one, other = (dropped_examples(tmp_path / str(order)) for order in (1, -1))
    assert one == other
    assert [example.reason for example in one["a"]] == ["x", "x", "y", "y"]


def test_dropped_examples_returns_empty_text_when_text_is_null(tmp_path):
    rows = {"text": pa.array([None, "a"], pa.string()), "source": ["a"] * 2, "id": ["1", "2"], "file": ["f"] * 2}
    pq.write_table(pa.table({**rows, "row": [0, 1], "reason": ["not_text", "too_short"]}), tmp_path / "0.parquet")
    found = {example.reason: (example.text, example.length) for example in dropped_examples(tmp_path)["a"]}
    assert found == {"not_text": ("", 0), "too_short": ("a", 1)}


def records(sources, sizes):
    count = len(sources)
    columns = {"text": [f"{n}" for n in range(count)], "id": ["i"] * count, "source": [str(s) for s in sources]}
    columns |= {"tokens": sizes, "file": ["f"] * count, "row": list(range(count)), "meta": ["{}"] * count}
    return pa.RecordBatch.from_pydict(columns, schema=RECORD_SCHEMA)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5000)), min_size=1, max_size=3 * POINTS), st.integers(1, 700)
)
def test_evidence_discrepancies_match_discrepancy_tracker(drawn, step):
    recipe = three_sources()
    sources, sizes = (np.array(column, np.int64) for column in zip(*drawn, strict=True))
    evidence, discrepancies = Evidence(recipe), DiscrepancyTracker(np.array(list(recipe.shares.values())))
    for start in range(0, len(sources), step):
        part = slice(start, start + step)
        evidence.add("train-00000", records(sources[part], sizes[part]), sources[part], sizes[part])
        discrepancies.add(sources[part], sizes[part])
    ends, low, high = evidence.discrepancies(40)
    largest = np.maximum(np.nanmax(np.abs(low), axis=1), np.nanmax(np.abs(high), axis=1))
    assert ends[-1] == sizes.sum()
    # The tracker also measures right before each record, when the source's target already includes the record.
    assert (largest <= discrepancies.largest + 1e-6).all()
    assert (largest >= discrepancies.largest - np.array(list(recipe.shares.values())) * sizes.max() - 1e-6).all()
    assert evidence.lengths.sum() == len(sources)
    assert evidence.lengths.shape == (3, LENGTH_BINS)


def three_sources():
    return Recipe(tuple(Source(id=f"{number}", weight=number + 1.0, name=f"a/{number}") for number in range(3)))


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_report_renders_in_browser_without_errors(mix, dropped, tmp_path):
    verify(mix, report=tmp_path / "page.html", dropped=dropped)
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}/profile",
        "--enable-logging=stderr",
    ]
    page = (tmp_path / "page.html").as_uri()
    screenshot = tmp_path / "page.png"
    window = [f"--screenshot={screenshot}", "--window-size=1200,900"]
    done = subprocess.run([CHROMIUM, *options, *window, page], capture_output=True, text=True, timeout=120, check=True)
    assert re.findall(r".*CONSOLE.*", done.stderr) == []
    assert screenshot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    tree = subprocess.run(
        [CHROMIUM, *options, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert tree.count("<figure>") == 6  # three charts of discrepancies and three of lengths
    assert "<script" not in tree
