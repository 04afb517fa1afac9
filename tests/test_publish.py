"""Mixes pushed to a Hub on this machine: uploaded files, visibility and refused pushes."""

import functools
import json
import shutil

import pytest
import yaml
from doors import ROOT, run
from huggingface_hub import DatasetCard
from kills import bulky, command, kill_push

from smollm3_mix.errors import HubError, OutputError
from smollm3_mix.hub import config_folder, repo_card, repository
from smollm3_mix.hub.push_mix import push_to_hub
from smollm3_mix.output import lane_writer
from smollm3_mix.output.card.licenses import classify_license
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.read_recipe import load_recipe

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # raised inside huggingface_hub

OPEN = {
    key: {"name": f"sources/{key}", "license": "CC0-1.0", "kind": {"type": "prose", "language": "en"}} for key in "abc"
}


@pytest.fixture(scope="module")
def written(shared_recipe_file, tmp_path_factory):
    """Return a function that writes a mix of the toy sources, each only once, and returns its folder."""

    @functools.cache
    def make(name, rows, options):
        top = json.loads(options)
        folder = tmp_path_factory.mktemp("written") / f"mix-{name}"
        write(shared_recipe_file(name, top.pop("sources", OPEN), **top), folder, max_shard_size=1)
        return folder

    return make


@pytest.fixture
def mix(written, tmp_path, monkeypatch):
    """Return a function that copies a mix of the toy sources, in shards of a few records, to a folder of the test."""
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 60)

    def make(name="toy", **top):
        folder = tmp_path / f"mix-{name}"
        shutil.copytree(written(name, lane_writer.GROUP_ROWS, json.dumps(top)), folder)
        return folder

    return make


def environment(hub):
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_writer", **quiet}


LOAD = """
import sys
sys.modules["smollm3_mix"] = None  # an environment without the package
from datasets import get_dataset_config_names, load_dataset
found = {}
for name in get_dataset_config_names(repository):
    streamed = list(load_dataset(repository, name, split="train", streaming=True))
    loaded = load_dataset(repository, name, split="train")
    found[name] = [len(streamed), streamed == list(loaded), sorted({row["source"] for row in streamed})]
print(json.dumps(found))
"""


def test_pushed_configs_load_without_the_package(hub, mix, tmp_path, monkeypatch):
    counts = {}
    for number, name in enumerate(("one", "two", "three")):
        folder = mix(name, seed=number)
        push_to_hub(folder, "org/mix", token="hf_writer")
        counts[name] = json.loads((folder / "stats.json").read_bytes())["splits"]["train"]["total"]["emitted"]
    for key, value in environment(hub).items():
        monkeypatch.setenv(key, value)
    found = run(LOAD, tmp_path, hub.endpoint, repository="org/mix")
    assert found == {name: [count, True, ["a", "b", "c"]] for name, count in counts.items()}


def test_push_uploads_the_written_files(hub, mix):
    folder = mix()
    assert push_to_hub(folder, "org/mix", token="hf_writer") == f"{hub.endpoint}/datasets/org/mix"
    local = {
        f"toy/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    remote = hub.repos["org/mix"].tree()
    assert set(remote) == {*local, "README.md", ".gitattributes"}
    assert {name: remote[name] for name in local} == local
    assert max(hub.commits) <= 100
    assert hub.repos["org/mix"].private is False


def test_push_commits_at_most_a_hundred_files_at_once(hub, mix, monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 3)
    folder = mix()
    files = len(list((folder / "data").iterdir()))
    hub.commits.clear()
    push_to_hub(folder, "org/mix", token="hf_writer")
    assert hub.commits[1:-1] == [100] * (files // 100) + [files % 100] * (files % 100 > 0)


def test_card_has_the_statistics_of_all_mixes(hub, mix):
    first, second = mix("one", sources={**OPEN, "b": {"license": "ODC-By-1.0", "kind": {"language": "fr"}}}), mix("two")
    push_to_hub(first, "org/mix", token="hf_writer")
    push_to_hub(second, "org/mix", token="hf_writer")
    text = hub.repos["org/mix"].tree()["README.md"].decode()
    card = DatasetCard(text)
    data = card.data.to_dict()
    all_stats = [json.loads((folder / "stats.json").read_bytes()) for folder in (first, second)]
    assert [config["config_name"] for config in data["configs"]] == ["one", "two"]
    assert [info["splits"][0]["num_examples"] for info in data["dataset_info"]] == [
        stats["splits"]["train"]["total"]["emitted"] for stats in all_stats
    ]
    assert (data["license"], data["language"]) == (["cc0-1.0", "odc-by"], ["en", "fr"])
    records = sum(split["total"]["emitted"] for stats in all_stats for split in stats["splits"].values())
    assert data["size_categories"] == ["n<1K" if records < 1000 else "1K<n<10K"]
    assert text.count("<!-- mix one -->") == text.count("<!-- mix two -->") == 1
    for stats in all_stats:
        assert stats["recipe"] in text
    assert '"org/mix", "two"' in text


def test_push_keeps_other_text_of_the_card(hub, mix):
    folder = mix()
    repo = hub.create("org/mix")
    repo.add("main", {"README.md": b"---\nlicense: mit\nviewer: false\n---\n\n# Mine\n\nBy hand.\n"})
    for _ in range(2):
        push_to_hub(folder, "org/mix", token="hf_writer")
    text = repo.tree()["README.md"].decode()
    assert "# Mine\n\nBy hand." in text
    assert DatasetCard(text).data.to_dict()["viewer"] is False
    assert text.count("<!-- mix toy -->") == 1


def test_repeated_push_sends_nothing(hub, mix):
    folder = mix()
    push_to_hub(folder, "org/mix", token="hf_writer")
    sent = len(hub.sent)
    tree = dict(hub.repos["org/mix"].tree())
    push_to_hub(folder, "org/mix", token="hf_writer")
    assert (len(hub.sent), hub.repos["org/mix"].tree()) == (sent, tree)


def test_push_resumes_when_it_is_killed(hub, tmp_path, monkeypatch, kills):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 4)
    folder = tmp_path / "mix"
    write(bulky(tmp_path), folder, max_shard_size=1)
    push_to_hub(folder, "org/complete", token="hf_writer")
    complete = hub.repos["org/complete"].tree()
    data = {name: body for name, body in complete.items() if name.endswith(".parquet")}
    kill_push(hub, lambda: command(hub, tmp_path / "home", "push", folder, "org/killed", rows=4), data, kills)
    killed = hub.repos["org/killed"].tree()
    assert killed.pop("README.md") == complete.pop("README.md").replace(b"org/complete", b"org/killed").replace(
        b"# complete", b"# killed"
    )
    assert killed == complete


def test_push_refuses_a_config_of_another_recipe(hub, mix):
    first, other = mix("one"), mix("other", seed=99)
    push_to_hub(first, "org/mix", config_name="web", token="hf_writer")
    with pytest.raises(OutputError) as error:
        push_to_hub(other, "org/mix", config_name="web", token="hf_writer")
    prints = [(folder / "recipe.yaml").read_text().split("fingerprint ")[1][:12] for folder in (first, other)]
    assert str(error.value) == (
        f"org/mix already has a config 'web': it has another recipe (fingerprint {prints[0]}, expected {prints[1]}). "
        "Add --replace to replace it, or choose another --config-name."
    )
    push_to_hub(other, "org/mix", config_name="web", replace=True, token="hf_writer")
    tree = hub.repos["org/mix"].tree()
    local = {f"web/data/{path.name}": path.read_bytes() for path in (other / "data").iterdir()}
    assert {name: body for name, body in tree.items() if name.startswith("web/data/")} == local
    assert tree["README.md"].decode().count("<!-- mix web -->") == 1


def test_push_with_replace_keeps_equal_files(hub, mix):
    first, other = mix("one"), mix("other", description="Other words.")
    files = {path.name: path.read_bytes() for path in (first / "data").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (other / "data").iterdir()}
    for folder, replace in ((first, False), (other, True)):
        push_to_hub(folder, "org/mix", config_name="web", replace=replace, token="hf_writer")
    tree = hub.repos["org/mix"].tree()
    assert {name: tree[f"web/data/{name}"] for name in files} == files
    assert tree["web/recipe.yaml"] == (other / "recipe.yaml").read_bytes()


def test_push_refuses_a_config_with_other_limits(hub, mix, recipe_file, tmp_path):
    push_to_hub(mix(), "org/mix", token="hf_writer")
    write(recipe_file("toy", OPEN), tmp_path / "few", max_shard_size=1, max_samples=20)
    assert (tmp_path / "few" / "recipe.yaml").read_bytes() == hub.repos["org/mix"].tree()["toy/recipe.yaml"]
    with pytest.raises(OutputError, match="it was written with other options \\(max_samples: None → 20\\)\\. Add "):
        push_to_hub(tmp_path / "few", "org/mix", token="hf_writer")


def test_push_names_a_file_that_was_removed_meanwhile(hub, api, mix):
    folder = mix()
    push_to_hub(folder, "org/mix", token="hf_writer")
    tree = hub.repos["org/mix"].tree()
    name = max(name for name in tree if name.startswith("toy/data/"))
    hub.repos["org/mix"].add("main", {each: body for each, body in tree.items() if each != name})
    filled = config_folder.ConfigFolder(repository.Repository("org/mix", api=api), "toy")
    with pytest.raises(OutputError, match=f"org/mix lacks {name}, which was removed during the push"):
        filled.finish(load_recipe(folder / "recipe.yaml"), json.loads((folder / "stats.json").read_bytes()), {})


def test_push_replaces_a_file_with_other_content(hub, mix):
    folder = mix()
    push_to_hub(folder, "org/mix", token="hf_writer")
    complete = hub.repos["org/mix"].tree()
    name = min(name for name in complete if name.startswith("toy/data/"))
    hub.repos["org/mix"].add("main", {**complete, name: complete[name][::-1]})
    push_to_hub(folder, "org/mix", token="hf_writer")
    assert hub.repos["org/mix"].tree() == complete


def test_push_refuses_a_folder_without_a_recipe(hub, mix):
    hub.create("org/mix").add("main", {"toy/train-00000-of-00001.parquet": b"PAR1"})
    with pytest.raises(OutputError, match=r"its folder contains toy/train-00000-of-00001\.parquet and no recipe"):
        push_to_hub(mix(), "org/mix", token="hf_writer")


def test_push_creates_a_private_repository_when_a_license_is_unknown(hub, mix, caplog):
    folder = mix(sources={**OPEN, "b": {"license": "per file"}, "c": {}})
    push_to_hub(folder, "org/mix", token="hf_writer")
    assert hub.repos["org/mix"].private is True
    assert caplog.messages[0] == (
        "Creating org/mix as a private repository: the license does not allow sharing the text of b (per file), c (not "
        "stated)."
    )
    push_to_hub(folder, "org/shared", allow_public=["b", "c"], token="hf_writer")
    assert hub.repos["org/shared"].private is False


def test_push_refuses_a_public_repository_when_a_license_is_unknown(hub, mix):
    folder = mix(sources={**OPEN, "c": {}})
    hub.create("org/mix")
    with pytest.raises(OutputError) as error:
        push_to_hub(folder, "org/mix", token="hf_writer")
    assert str(error.value) == (
        "org/mix is public, but the license does not allow sharing the text of c (not stated). Push to another "
        "repository, make this one private, or allow it: --allow-public c"
    )
    with pytest.raises(OutputError) as error:
        push_to_hub(folder, "org/mix", private=True, token="hf_writer")
    assert str(error.value) == "org/mix is public, but --private was given. Push to another repository."
    with pytest.raises(OutputError) as error:
        push_to_hub(folder, "org/mix", allow_public=["d"], token="hf_writer")
    assert str(error.value) == "--allow-public 'd' is not a source of the mix. Its sources are a, b, c."


@pytest.mark.parametrize(
    "token, message", [("hf_reader", "cannot write to org/mix: "), ("hf_bad", "without a valid login")]
)
def test_push_checks_access_before_it_sends_anything(hub, mix, token, message):
    hub.create("org/mix")
    with pytest.raises(HubError, match=message) as error:
        push_to_hub(mix(), "org/mix", token=token)
    assert "hf auth login" in str(error.value)
    assert hub.sent == hub.commits == []


def test_push_refuses_a_repository_with_a_loading_script(hub, mix):
    hub.create("org/mix").add("main", {"mix.py": b""})
    with pytest.raises(OutputError) as error:
        push_to_hub(mix(), "org/mix", token="hf_writer")
    assert str(error.value) == (
        "org/mix contains mix.py, and datasets 4 and later reject a repository with a script of its own name. "
        "Remove the script, or push to a repository with another name."
    )


def test_push_retries_transient_errors(hub, mix):
    folder = mix()
    hub.problems = [503, 429]
    push_to_hub(folder, "org/mix", token="hf_writer")
    assert "README.md" in hub.repos["org/mix"].tree()
    hub.problems = [500] * 9
    with pytest.raises(HubError, match=r"cannot write to org/other: .* Repeat the same command to resume\.$"):
        push_to_hub(folder, "org/other", token="hf_writer")


def test_push_merges_a_concurrent_commit(hub, mix, monkeypatch):
    """Make another commit after the push has read the card and before it commits."""
    folder = mix()
    push_to_hub(mix("other"), "org/mix", token="hf_writer")
    merge_card = repo_card.merge_card
    cards = []

    def commit_between(*arguments):
        card = merge_card(*arguments)
        if not cards:
            cards.append(card)
            hub.repos["org/mix"].add("main", {**hub.repos["org/mix"].tree(), "between.txt": b"text"})
        return card

    monkeypatch.setattr(config_folder, "merge_card", commit_between)
    push_to_hub(folder, "org/mix", token="hf_writer")
    tree = hub.repos["org/mix"].tree()
    assert tree["between.txt"] == b"text"
    configs = DatasetCard(tree["README.md"].decode()).data.to_dict()["configs"]
    assert [config["config_name"] for config in configs] == ["other", "toy"]


def test_push_creates_a_missing_branch(hub, mix):
    push_to_hub(mix(), "org/mix", revision="v2", token="hf_writer")
    assert "README.md" in hub.repos["org/mix"].tree("v2")
    assert "README.md" not in hub.repos["org/mix"].tree()


def test_push_refuses_invalid_arguments_without_a_request(hub, mix, tmp_path):
    folder = mix()
    with pytest.raises(OutputError, match=r"'mix' is not a valid repository\. Use OWNER/NAME"):
        push_to_hub(folder, "mix", token="hf_writer")
    with pytest.raises(OutputError, match="'a/b' is not a valid config name"):
        push_to_hub(folder, "org/mix", config_name="a/b", token="hf_writer")
    with pytest.raises(OutputError, match=r"is not a written mix \(it has no data\)\. Name the folder"):
        push_to_hub(tmp_path, "org/mix", token="hf_writer")
    shutil.copytree(folder, tmp_path / "short")
    next((tmp_path / "short/data").iterdir()).unlink()
    with pytest.raises(OutputError, match=r"is missing: stats\.json says"):
        push_to_hub(tmp_path / "short", "org/mix", token="hf_writer")
    assert hub.requests == 0


@pytest.mark.parametrize(
    "stated, hub_id, shareable",
    [
        ("ODC-By-1.0", "odc-by", True),
        ("CC-BY-NC-4.0", "cc-by-nc-4.0", True),
        ("CC-BY-ND-4.0", "cc-by-nd-4.0", False),
        ("GPL-3.0-or-later", "gpl-3.0", True),
        ("PSF-2.0", "other", True),
        ("per file", "other", False),
        ("not stated", "other", False),
        (None, "unknown", False),
        ("", "unknown", False),
    ],
)
def test_classify_license(stated, hub_id, shareable):
    assert (classify_license(stated).hub, classify_license(stated).shareable) == (hub_id, shareable)


def test_licenses_of_shipped_recipes_are_classified():
    stated = set()
    for path in (ROOT / "configs").glob("*.yaml"):
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
        stated |= {source.get("license") for source in written.get("datasets", [])}  # a curriculum has only stages
    unknown = {each for each in stated if not classify_license(each).shareable}
    assert unknown <= {None, "per file", "per document", "not stated"}


PLAIN = """
import smollm3_mix
from datasets import IterableDataset, load_dataset
dataset = smollm3_mix.load(recipe, streaming=False)
dataset.push_to_hub("org/plain")
same = [list(load_dataset("org/plain", split="train")) == list(dataset)]
if hasattr(IterableDataset, "push_to_hub"):  # datasets 4 and later
    stream = smollm3_mix.load(recipe)
    stream.push_to_hub("org/streamed")
    expected = sorted(record["id"] + record["text"] for record in stream)
    same.append(sorted(r["id"] + r["text"] for r in load_dataset("org/streamed", split="train")) == expected)
print(json.dumps(same))
"""


def test_loaded_dataset_can_be_pushed_by_datasets(hub, recipe_file, tmp_path, monkeypatch):
    for key, value in environment(hub).items():
        monkeypatch.setenv(key, value)
    assert set(run(PLAIN, tmp_path, hub.endpoint, recipe=recipe_file(lanes=2))) == {True}
    names = {path for repo in hub.repos.values() for path in repo.tree()}
    assert any(name.startswith("data/train-00000") for name in names)
