"""Demo sources from the Python installation that runs these tests."""

import ast
import hashlib
import os
import subprocess
import sys
import sysconfig
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from smollm3_mix.errors import SourceError
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.sources import demo_sources
from smollm3_mix.text.clean.clean_block import clean_texts
from smollm3_mix.text.clean.cleaning_options import Cleaning

FEWEST = {
    "python:stdlib": 200,
    "python:docstrings": 1000,
    "python:reference": 70,
    "python:readmes": 5,
    "python:licenses": 5,
    "demo:vietnamese": 40,
    "demo:french": 40,
}
QUICK = [name for name in FEWEST if name not in ("python:stdlib", "python:docstrings")]


@pytest.fixture
def home():
    """The cache of this process, which all tests fill together."""
    return Path(constants.HF_HOME)


@pytest.fixture
def empty_home(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def table(name):
    (file,) = demo_sources.materialize(name).iterdir()
    return pq.read_table(file)


def column(name, key):
    return table(name)[key].to_pylist()


def digests(home):
    return {p.relative_to(home): hashlib.sha256(p.read_bytes()).hexdigest() for p in home.rglob("*.parquet")}


def test_names_are_the_tested_ones():
    assert demo_sources.names() == list(FEWEST)


@pytest.mark.parametrize("name", FEWEST)
def test_documents_have_id_path_and_license(home, name):
    found = table(name)
    assert found.schema.equals(demo_sources.SCHEMA)
    assert found.num_rows >= FEWEST[name]
    rows = found.to_pylist()
    assert all(row["text"].strip() and row["license"] for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)
    assert not [row for row in rows if Path(row["path"]).is_absolute() or ".." in row["path"].split("/")]


@pytest.mark.parametrize("name", FEWEST)
def test_ids_and_paths_contain_no_local_folder(home, name):
    places = {sysconfig.get_path("stdlib"), sys.prefix, sys.base_prefix, str(home)}
    assert not [t for key in ("id", "path") for t in column(name, key) if any(place in t for place in places)]


def test_datasets_loads_a_demo_source(home, tmp_path):
    from datasets import load_dataset

    folder = str(demo_sources.materialize("python:reference"))
    whole = load_dataset(folder, split="train", cache_dir=str(tmp_path))
    streamed = load_dataset(folder, split="train", streaming=True)
    assert whole.column_names == demo_sources.SCHEMA.names
    assert next(iter(streamed)) == whole[0]


def test_stdlib_excludes_tests_and_generated_files(home):
    rows = {row["path"]: row["text"] for row in table("python:stdlib").to_pylist()}
    library = Path(sysconfig.get_path("stdlib"))
    assert rows["argparse.py"] == (library / "argparse.py").read_text(encoding="utf-8")
    assert "asyncio/tasks.py" in rows
    parts = {part for path in rows for part in path.split("/")}
    assert not parts & {"test", "tests", "site-packages", "encodings", "pydoc_data"}
    assert not [part for part in parts if part.startswith(("_sysconfigdata", "config-", "sitecustomize"))]


def test_docstrings_of_a_class_are_one_document(home):
    rows = {row["id"]: row["text"] for row in table("python:docstrings").to_pylist()}
    text = rows["fractions.py#Fraction"]
    assert text.startswith("Fraction\n\n")
    assert "\n\n\nFraction.limit_denominator\n\n" in text
    assert rows["fractions.py"] == ast.get_docstring(
        ast.parse((Path(sysconfig.get_path("stdlib")) / "fractions.py").read_text(encoding="utf-8"))
    )


def test_docstrings_are_found_without_imports(home):
    demo_sources.materialize("python:docstrings")
    assert "antigravity" not in sys.modules
    assert "antigravity.py#geohash" in column("python:docstrings", "id")


def test_lone_surrogate_in_a_docstring_becomes_an_escape():
    ((_, text),) = demo_sources._documented_names(ast.parse('"a \\ud800 b"'))
    assert text == "a \\ud800 b"


def test_definitions_of_one_name_get_different_ids(tmp_path):
    code = 'try:\n    def f():\n        "one"\nexcept E:\n    def f():\n        "two"\n'
    (tmp_path / "m.py").write_text(code)
    documents = list(demo_sources._documented(tmp_path, ["m.py"]))
    assert [(d.id, d.text) for d in documents] == [("m.py#f", "f\n\none"), ("m.py#f'", "f\n\ntwo")]


@pytest.mark.parametrize(
    "raw, expected", [(b"# \xff\n", "not in its declared encoding"), (b"def f(:\n", "not valid Python")]
)
def test_invalid_python_file_is_skipped_with_a_warning(tmp_path, caplog, raw, expected):
    (tmp_path / "bad.py").write_bytes(raw)
    assert list(demo_sources._documented(tmp_path, ["bad.py"])) == []
    assert expected in caplog.text
    assert "bad.py" in caplog.text


def test_reference_is_split_at_headings(home):
    rows = {row["id"]: row["text"] for row in table("python:reference").to_pylist()}
    sections = [text for name, text in rows.items() if name.startswith("pydoc_data/topics.py#compound/")]
    assert sections[0].startswith("Compound statements\n*****")
    assert any(text.startswith('The "while" statement\n=====') for text in sections)


def test_some_licenses_are_identical(home):
    texts = column("python:licenses", "text")
    assert len(set(texts)) < len(texts) or len(texts) < 10


def test_readmes_exclude_this_package(home):
    assert not [path for path in column("python:readmes", "path") if path.startswith("smollm3_mix-")]


@pytest.mark.parametrize("declared, expected", [
    ("License-Expression: MIT\nLicense: other", "MIT"),
    ("License: BSD", "BSD"),
    ("License: Copyright\n  everybody", "unknown"),
    ("License: x\n  y\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
    ("Name: x", "unknown"),
])  # fmt: skip
def test_license_is_read_as_declared(declared, expected):
    import email

    assert demo_sources._license(email.message_from_string(declared + "\n\n")) == expected


LETTERS = {
    "demo:vietnamese": "áàảãạăắằẳẵặâấầẩẫậđéèẻẽẹêếềểễệíìỉĩịóòỏõọôốồổỗộơớờởỡợúùủũụưứừửữựýỳỷỹỵ",
    "demo:french": "àâçéèêëîïôùûœ",
}


@pytest.mark.parametrize("name", LETTERS)
def test_written_texts_are_nfc_in_their_language(home, name):
    texts = column(name, "text")
    assert all(unicodedata.is_normalized("NFC", text) for text in texts)
    assert set(LETTERS[name]) <= set("".join(texts).lower())
    accented = {letter for text in texts for letter in text.lower() if letter.isalpha() and not letter.isascii()}
    assert accented - set(LETTERS[name]) <= {"ₙ"}
    assert all(80 <= len(text.split()) <= 300 for text in texts)
    assert set(column(name, "license")) == {"CC0-1.0"}


@pytest.mark.parametrize("name", LETTERS)
def test_written_texts_contain_dirt_that_cleaning_removes(home, name):
    texts = table(name)["text"].combine_chunks()
    cleaned = clean_texts(texts, Cleaning()).to_pylist()
    assert len(set(texts.to_pylist())) == len(texts)
    assert len(set(cleaned)) == len(texts) - 1
    assert any("  " in text for text in texts.to_pylist())
    assert any("\r\n" in text for text in texts.to_pylist())
    assert not [text for text in cleaned if "  " in text or "\r" in text]


def test_another_process_writes_the_same_bytes(home, tmp_path):
    # The docstrings are left out. They take longest and are written by the same code.
    names = ", ".join(repr(name) for name in FEWEST if name != "python:docstrings")
    code = f"from smollm3_mix.sources import demo_sources\nfor name in ({names}): demo_sources.materialize(name)"
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join([root, *(entry for entry in sys.path if entry)])
    other = {**os.environ, "HF_HOME": str(tmp_path), "PYTHONHASHSEED": "7", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=other, cwd=tmp_path)
    made = {demo_sources.materialize(name).name for name in FEWEST if name != "python:docstrings"}
    assert digests(tmp_path) == {path: digest for path, digest in digests(home).items() if path.parent.name in made}


def test_source_is_written_once(empty_home, monkeypatch):
    first = demo_sources.materialize("demo:french")
    monkeypatch.setattr(demo_sources, "_write", None)
    assert demo_sources.materialize("demo:french") == first


def test_other_input_changes_the_folder(tmp_path):
    (tmp_path / "a.py").write_text("1")
    before = demo_sources._stamps(tmp_path, ["a.py"])
    (tmp_path / "a.py").write_text("12")
    assert demo_sources._stamps(tmp_path, ["a.py"]) != before


def test_concurrent_callers_get_one_complete_file(empty_home):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(demo_sources.materialize, QUICK * 4))
    assert len(set(folders)) == len(QUICK)
    files = [path for path in empty_home.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(file for folder in set(folders) for file in folder.iterdir())
    assert all(pq.read_table(file).num_rows for file in files)


def test_existing_file_in_use_is_accepted(tmp_path, monkeypatch):
    file = tmp_path / "key" / "x.parquet"
    demo_sources._write(file, [demo_sources.Document("t", "i", "p", "l")])

    def held(self, target):
        raise PermissionError(13, "in use")

    monkeypatch.setattr(Path, "replace", held)
    demo_sources._write(file, [demo_sources.Document("t", "i", "p", "l")])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
    with pytest.raises(PermissionError):
        demo_sources._write(tmp_path / "other" / "x.parquet", [demo_sources.Document("t", "i", "p", "l")])


def test_unknown_name_error_lists_the_names():
    with pytest.raises(SourceError) as error:
        demo_sources.materialize("python:stdlbi")
    assert str(error.value) == f"unknown demo source 'python:stdlbi'. Known demo sources: {', '.join(FEWEST)}"


def test_missing_library_sources_raise(empty_home, tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "none.zip"))
    for name in ("python:stdlib", "python:docstrings"):
        with pytest.raises(SourceError) as error:
            demo_sources.materialize(name)
        assert str(error.value) == (
            f"{name}: {tmp_path / 'none.zip'} has no source files of the standard library, as in an embedded or frozen "
            "Python. Use a full installation, or remove the source from the recipe."
        )


def test_missing_reference_raises(empty_home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(SourceError) as error:
        demo_sources.materialize("python:reference")
    assert str(error.value) == (
        "python:reference: this installation has no pydoc_data.topics. Use a full installation of Python, "
        "or remove the source from the recipe."
    )


def test_missing_distributions_raise(empty_home, monkeypatch):
    monkeypatch.setattr("importlib.metadata.distributions", list)
    with pytest.raises(SourceError) as error:
        demo_sources.materialize("python:readmes")
    assert (
        str(error.value)
        == "python:readmes: this Python installation has no such documents. Remove the source from the recipe."
    )


def test_unwritable_cache_error_names_hf_home(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "file"))
    with pytest.raises(SourceError) as error:
        demo_sources.materialize("demo:french")
    message = str(error.value)
    assert message.startswith(f"demo:french: cannot write to {tmp_path / 'file'}")
    assert message.endswith(". Set HF_HOME to a writable folder.")


def test_demo_recipe_names_every_source_once(home):
    recipe = load_recipe("demo")
    assert sorted(source.name for source in recipe.sources) == sorted(FEWEST)
    assert recipe.raw_sum == pytest.approx(1)
    assert recipe.unavailable_share == 0
    assert {key for source in recipe.sources for key in (source.text_field, source.id_field, *source.keep)} == set(
        demo_sources.SCHEMA.names
    )
