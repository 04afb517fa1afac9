"""The demo's sources, made from the Python that runs these tests."""

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
    (file,) = demo_sources.materialise(name).iterdir()
    return pq.read_table(file)


def column(name, key):
    return table(name)[key].to_pylist()


def digests(home):
    return {p.relative_to(home): hashlib.sha256(p.read_bytes()).hexdigest() for p in home.rglob("*.parquet")}


def test_the_names_are_those_tested():
    assert demo_sources.names() == list(FEWEST)


@pytest.mark.parametrize("name", FEWEST)
def test_a_source_holds_documents_with_an_id_a_path_and_a_licence_each(home, name):
    found = table(name)
    assert found.schema.equals(demo_sources.SCHEMA)
    assert found.num_rows >= FEWEST[name]
    rows = found.to_pylist()
    assert all(row["text"].strip() and row["license"] for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)
    assert not [row for row in rows if Path(row["path"]).is_absolute() or ".." in row["path"].split("/")]


@pytest.mark.parametrize("name", FEWEST)
def test_no_id_or_path_names_a_folder_of_this_machine(home, name):
    places = {sysconfig.get_path("stdlib"), sys.prefix, sys.base_prefix, str(home)}
    assert not [t for key in ("id", "path") for t in column(name, key) if any(place in t for place in places)]


def test_datasets_loads_a_source_as_a_folder_of_parquet(home, tmp_path):
    from datasets import load_dataset

    folder = str(demo_sources.materialise("python:reference"))
    whole = load_dataset(folder, split="train", cache_dir=str(tmp_path))
    streamed = load_dataset(folder, split="train", streaming=True)
    assert whole.column_names == demo_sources.SCHEMA.names
    assert next(iter(streamed)) == whole[0]


def test_code_is_the_standard_library_without_tests_and_generated_files(home):
    rows = {row["path"]: row["text"] for row in table("python:stdlib").to_pylist()}
    library = Path(sysconfig.get_path("stdlib"))
    assert rows["argparse.py"] == (library / "argparse.py").read_text(encoding="utf-8")
    assert "asyncio/tasks.py" in rows
    parts = {part for path in rows for part in path.split("/")}
    assert not parts & {"test", "tests", "site-packages", "encodings", "pydoc_data"}
    assert not [part for part in parts if part.startswith(("_sysconfigdata", "config-", "sitecustomize"))]


def test_docstrings_of_a_class_stand_together_under_their_names(home):
    rows = {row["id"]: row["text"] for row in table("python:docstrings").to_pylist()}
    text = rows["fractions.py#Fraction"]
    assert text.startswith("Fraction\n\n")
    assert "\n\n\nFraction.limit_denominator\n\n" in text
    assert rows["fractions.py"] == ast.get_docstring(
        ast.parse((Path(sysconfig.get_path("stdlib")) / "fractions.py").read_text(encoding="utf-8"))
    )


def test_docstrings_are_found_without_importing(home):
    demo_sources.materialise("python:docstrings")
    assert "antigravity" not in sys.modules
    assert "antigravity.py#geohash" in column("python:docstrings", "id")


def test_a_lone_surrogate_in_a_docstring_becomes_an_escape():
    ((_, text),) = demo_sources._parts(ast.parse('"a \\ud800 b"'))
    assert text == "a \\ud800 b"


def test_definitions_of_one_name_get_ids_of_their_own(tmp_path):
    code = 'try:\n    def f():\n        "one"\nexcept E:\n    def f():\n        "two"\n'
    (tmp_path / "m.py").write_text(code)
    documents = list(demo_sources._documented(tmp_path, ["m.py"]))
    assert [(d.id, d.text) for d in documents] == [("m.py#f", "f\n\none"), ("m.py#f'", "f\n\ntwo")]


@pytest.mark.parametrize("raw, said", [(b"# \xff\n", "not in the encoding"), (b"def f(:\n", "not Python")])
def test_a_file_that_is_no_python_is_left_out_with_a_warning(tmp_path, caplog, raw, said):
    (tmp_path / "bad.py").write_bytes(raw)
    assert list(demo_sources._documented(tmp_path, ["bad.py"])) == []
    assert said in caplog.text
    assert "bad.py" in caplog.text


def test_the_reference_is_cut_at_its_headings(home):
    rows = {row["id"]: row["text"] for row in table("python:reference").to_pylist()}
    sections = [text for name, text in rows.items() if name.startswith("pydoc_data/topics.py#compound/")]
    assert sections[0].startswith("Compound statements\n*****")
    assert any(text.startswith('The "while" statement\n=====') for text in sections)


def test_some_licences_are_copies_of_each_other(home):
    texts = column("python:licenses", "text")
    assert len(set(texts)) < len(texts) or len(texts) < 10


def test_readmes_leave_this_package_out(home):
    assert not [path for path in column("python:readmes", "path") if path.startswith("smollm3_mix-")]


@pytest.mark.parametrize("declared, expected", [
    ("License-Expression: MIT\nLicense: other", "MIT"),
    ("License: BSD", "BSD"),
    ("License: Copyright\n  everybody", "unknown"),
    ("License: x\n  y\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
    ("Name: x", "unknown"),
])  # fmt: skip
def test_a_licence_is_read_as_it_is_declared(declared, expected):
    import email

    assert demo_sources._license(email.message_from_string(declared + "\n\n")) == expected


LETTERS = {
    "demo:vietnamese": "áàảãạăắằẳẵặâấầẩẫậđéèẻẽẹêếềểễệíìỉĩịóòỏõọôốồổỗộơớờởỡợúùủũụưứừửữựýỳỷỹỵ",
    "demo:french": "àâçéèêëîïôùûœ",
}


@pytest.mark.parametrize("name", LETTERS)
def test_written_texts_are_nfc_with_the_letters_of_their_language(home, name):
    texts = column(name, "text")
    assert all(unicodedata.is_normalized("NFC", text) for text in texts)
    assert set(LETTERS[name]) <= set("".join(texts).lower())
    accented = {letter for text in texts for letter in text.lower() if letter.isalpha() and not letter.isascii()}
    assert accented - set(LETTERS[name]) <= {"ₙ"}
    assert all(80 <= len(text.split()) <= 300 for text in texts)
    assert set(column(name, "license")) == {"CC0-1.0"}


@pytest.mark.parametrize("name", LETTERS)
def test_written_texts_hold_dirt_that_cleaning_takes_out(home, name):
    texts = table(name)["text"].combine_chunks()
    cleaned = clean_texts(texts, Cleaning()).to_pylist()
    assert len(set(texts.to_pylist())) == len(texts)
    assert len(set(cleaned)) == len(texts) - 1
    assert any("  " in text for text in texts.to_pylist())
    assert any("\r\n" in text for text in texts.to_pylist())
    assert not [text for text in cleaned if "  " in text or "\r" in text]


def test_the_same_bytes_again_in_another_process(home, tmp_path):
    # Not the docstrings: they take longer than all others, and are written by the same lines.
    names = ", ".join(repr(name) for name in FEWEST if name != "python:docstrings")
    code = f"from smollm3_mix.sources import demo_sources\nfor name in ({names}): demo_sources.materialise(name)"
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join([root, *(entry for entry in sys.path if entry)])
    other = {**os.environ, "HF_HOME": str(tmp_path), "PYTHONHASHSEED": "7", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=other, cwd=tmp_path)
    made = {demo_sources.materialise(name).name for name in FEWEST if name != "python:docstrings"}
    assert digests(tmp_path) == {path: digest for path, digest in digests(home).items() if path.parent.name in made}


def test_a_source_is_made_once(empty_home, monkeypatch):
    first = demo_sources.materialise("demo:french")
    monkeypatch.setattr(demo_sources, "_write", None)
    assert demo_sources.materialise("demo:french") == first


def test_another_input_makes_another_folder(tmp_path):
    (tmp_path / "a.py").write_text("1")
    before = demo_sources._stamps(tmp_path, ["a.py"])
    (tmp_path / "a.py").write_text("12")
    assert demo_sources._stamps(tmp_path, ["a.py"]) != before


def test_callers_at_the_same_time_get_one_whole_file_and_leave_nothing_else(empty_home):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(demo_sources.materialise, QUICK * 4))
    assert len(set(folders)) == len(QUICK)
    files = [path for path in empty_home.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(file for folder in set(folders) for file in folder.iterdir())
    assert all(pq.read_table(file).num_rows for file in files)


def test_a_file_in_use_that_cannot_be_replaced_is_another_callers(tmp_path, monkeypatch):
    file = tmp_path / "key" / "x.parquet"
    demo_sources._write(file, [demo_sources.Document("t", "i", "p", "l")])

    def held(self, target):
        raise PermissionError(13, "in use")

    monkeypatch.setattr(Path, "replace", held)
    demo_sources._write(file, [demo_sources.Document("t", "i", "p", "l")])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
    with pytest.raises(PermissionError):
        demo_sources._write(tmp_path / "other" / "x.parquet", [demo_sources.Document("t", "i", "p", "l")])


def test_an_unknown_name_lists_the_names():
    with pytest.raises(SourceError) as error:
        demo_sources.materialise("python:stdlbi")
    assert str(error.value) == f"there is no demo source 'python:stdlbi'; there are {', '.join(FEWEST)}"


def test_an_installation_without_sources_says_so(empty_home, tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "none.zip"))
    for name in ("python:stdlib", "python:docstrings"):
        with pytest.raises(SourceError) as error:
            demo_sources.materialise(name)
        assert str(error.value) == (
            f"{name}: no source files of the standard library are in {tmp_path / 'none.zip'}, as in an embedded or "
            "frozen Python; use a full installation, or remove the source from the recipe"
        )


def test_an_installation_without_the_reference_says_so(empty_home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(SourceError) as error:
        demo_sources.materialise("python:reference")
    assert str(error.value) == (
        "python:reference: this installation lacks pydoc_data.topics; use a full installation of Python, "
        "or remove the source from the recipe"
    )


def test_no_distributions_at_all_say_so(empty_home, monkeypatch):
    monkeypatch.setattr("importlib.metadata.distributions", list)
    with pytest.raises(SourceError) as error:
        demo_sources.materialise("python:readmes")
    assert (
        str(error.value)
        == "python:readmes: this installation of Python holds none of it; remove the source from the recipe"
    )


def test_a_cache_that_cannot_be_written_says_what_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "file"))
    with pytest.raises(SourceError) as error:
        demo_sources.materialise("demo:french")
    message = str(error.value)
    assert message.startswith(f"demo:french: cannot be written to {tmp_path / 'file'}")
    assert message.endswith("; set HF_HOME to a folder that can be written")


def test_the_demo_recipe_names_every_source_once(home):
    recipe = load_recipe("demo")
    assert sorted(source.name for source in recipe.sources) == sorted(FEWEST)
    assert recipe.raw_sum == pytest.approx(1)
    assert recipe.unavailable_share == 0
    assert {key for source in recipe.sources for key in (source.text_field, source.id_field, *source.keep)} == set(
        demo_sources.SCHEMA.names
    )
