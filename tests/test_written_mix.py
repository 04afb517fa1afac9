"""The result of `write`, `finish` and `open_written`, and the arguments of `write`."""

import json

import pytest

from smollm3_mix.errors import OutputError
from smollm3_mix.mix.mix_stats import MixStats
from smollm3_mix.output.finish import finish
from smollm3_mix.output.write_mix import write
from smollm3_mix.output.written_mix import open_written


@pytest.fixture
def written(recipe_file, tmp_path):
    """Write a small mix."""
    return write(recipe_file(), tmp_path / "out", max_samples=30)


def test_written_mix_describes_the_files(written, tmp_path):
    assert written.output_dir == str(tmp_path / "out")
    assert written.name == "toy"
    assert written.format == "parquet"
    assert written.files == {p.name: p.stat().st_size for p in sorted((tmp_path / "out/data").iterdir())}
    assert written.stats["train"].total.emitted == 30
    assert all(source.revision for source in written.recipe.active)
    assert repr(written) == f"WrittenMix({str(tmp_path / 'out')!r}, 'toy', 30 records, format='parquet')"
    assert ">a</td>" in written._repr_html_()


def test_written_mix_to_dict_is_json(written):
    values = json.loads(json.dumps(written.to_dict()))
    assert MixStats.from_dict(values["stats"]["train"]) == written.stats["train"]
    assert (values["name"], values["files"], values["format"]) == (written.name, written.files, "parquet")


def test_open_written_equals_the_result_of_write(written):
    assert open_written(written) == open_written(written.output_dir) == written


def test_open_written_reads_a_mix_at_a_url(recipe_file, tmp_path):
    url = f"memory://{tmp_path.name}/mix"
    written = write(recipe_file(), url, max_samples=30)
    assert open_written(url) == written
    assert written.recipe.file == f"{url}/recipe.yaml"
    with pytest.raises(OutputError, match=r"/none has no recipe\.yaml\. Name a mix that") as error:
        open_written(f"memory://{tmp_path.name}/none")
    assert error.value.path == f"memory://{tmp_path.name}/none"


def test_open_written_refuses_a_folder_without_a_mix(tmp_path):
    with pytest.raises(OutputError, match="does not exist") as error:
        open_written(tmp_path / "none")
    assert error.value.path == str(tmp_path / "none")


def test_load_returns_the_written_records(written):
    datasets = pytest.importorskip("datasets")
    streamed, loaded = written.load(), written.load("train", streaming=False)
    assert isinstance(streamed, datasets.IterableDataset)
    assert isinstance(loaded, datasets.Dataset)
    assert list(streamed) == list(loaded)
    assert len(loaded) == 30


def test_load_refuses_other_formats(recipe_file, tmp_path):
    written = write(recipe_file(), tmp_path / "out", format="by-source", max_samples=30)
    with pytest.raises(OutputError, match="is in format 'by-source', but load\\(\\) reads 'parquet'"):
        written.load()


def test_finish_returns_the_result_of_write(recipe_file, tmp_path):
    path = recipe_file(lanes=2)
    some = write(path, tmp_path / "some", only_lanes=[0])
    assert some.files == {}
    write(path, tmp_path / "some", only_lanes=[1])
    finished, single = finish(tmp_path / "some"), write(path, tmp_path / "one")
    assert (finished.stats, finished.files, finished.format) == (single.stats, single.files, single.format)
    assert finished.recipe.fingerprint == single.recipe.fingerprint
    assert some.stats["train"].total.emitted < finished.stats["train"].total.emitted


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            {"num_procs": 2},
            TypeError,
            r"write\(\) got an unexpected keyword argument 'num_procs'\. Did you mean 'num_proc'",
        ),
        ({"max_token": 2}, TypeError, r"unexpected keyword argument 'max_token'\. Did you mean 'max_tokens'"),
        ({"max_shard_size": 0}, ValueError, "max_shard_size"),
        ({"max_tokens": "1GB"}, ValueError, "max_tokens"),
        ({"num_proc": 0}, ValueError, "num_proc"),
        ({"split": "validation"}, ValueError, r"write\(\) writes all splits"),
        ({"continue_from": {}}, ValueError, r"write\(\) cannot continue from a state"),
        ({"dedup_state_dir": "state"}, ValueError, r"write\(\) keeps the dedup state in its output folder"),
        ({"executor": "dask"}, ValueError, "executor must be an Executor or 'ray', got 'dask'"),
    ],
)
def test_write_refuses_invalid_arguments(recipe_file, tmp_path, arguments, kind, message):
    with pytest.raises(kind, match=message):
        write(recipe_file(), tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_write_accepts_sizes_as_text(recipe_file, tmp_path):
    path = recipe_file()
    one = write(path, tmp_path / "one", max_samples="1k", max_shard_size="4kB")
    two = write(path, tmp_path / "two", max_samples=1000, max_shard_size=4000)
    assert one.files == two.files
