"""Mixes pushed to a Hub on this machine: what is there afterwards, who may read it, and what is refused."""

import functools
import json
import shutil

import pytest
import yaml
from doors import ROOT, run
from huggingface_hub import DatasetCard
from kills import bulky, command, kill_push

from smollm3_mix.errors import OutputError
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
    """Writes a mix of the toy sources, each but once, and returns its folder."""

    @functools.cache
    def make(name, rows, asked):
        top = json.loads(asked)
        folder = tmp_path_factory.mktemp("written") / f"mix-{name}"
        write(shared_recipe_file(name, top.pop("sources", OPEN), **top), folder, max_shard_size=1)
        return folder

    return make


@pytest.fixture
def mix(written, tmp_path, monkeypatch):
    """Gives a mix of the toy sources, in parts of a few records, as a folder of the test's own."""
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


def test_three_configs_load_without_the_package(hub, mix, tmp_path, monkeypatch):
    counts = {}
    for number, name in enumerate(("one", "two", "three")):
        folder = mix(name, seed=number)
        push_to_hub(folder, "org/mix", token="hf_writer")
        counts[name] = json.loads((folder / "stats.json").read_bytes())["splits"]["train"]["total"]["emitted"]
    for key, value in environment(hub).items():
        monkeypatch.setenv(key, value)
    found = run(LOAD, tmp_path, hub.endpoint, repository="org/mix")
    assert found == {name: [count, True, ["a", "b", "c"]] for name, count in counts.items()}


def test_the_repository_holds_each_mix_as_it_was_written(hub, mix):
    folder = mix()
    assert push_to_hub(folder, "org/mix", token="hf_writer") == f"{hub.endpoint}/datasets/org/mix"
    here = {
        f"toy/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    there = hub.repos["org/mix"].tree()
    assert set(there) == {*here, "README.md", ".gitattributes"}
    assert {name: there[name] for name in here} == here
    assert max(hub.commits) <= 100
    assert hub.repos["org/mix"].private is False


def test_more_than_a_hundred_files_are_committed_a_hundred_at_a_time(hub, mix, monkeypatch):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 3)
    folder = mix()
    files = len(list((folder / "data").iterdir()))
    hub.commits.clear()
    push_to_hub(folder, "org/mix", token="hf_writer")
    assert hub.commits[1:-1] == [100] * (files // 100) + [files % 100] * (files % 100 > 0)


def test_the_card_says_what_the_tallies_hold(hub, mix):
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


def test_what_others_wrote_on_the_card_stays(hub, mix):
    folder = mix()
    repo = hub.create("org/mix")
    repo.add("main", {"README.md": b"---\nlicense: mit\nviewer: false\n---\n\n# Mine\n\nBy hand.\n"})
    for _ in range(2):
        push_to_hub(folder, "org/mix", token="hf_writer")
    text = repo.tree()["README.md"].decode()
    assert "# Mine\n\nBy hand." in text
    assert DatasetCard(text).data.to_dict()["viewer"] is False
    assert text.count("<!-- mix toy -->") == 1


def test_a_push_that_is_done_sends_nothing_again(hub, mix):
    folder = mix()
    push_to_hub(folder, "org/mix", token="hf_writer")
    sent = len(hub.sent)
    tree = dict(hub.repos["org/mix"].tree())
    push_to_hub(folder, "org/mix", token="hf_writer")
    assert (len(hub.sent), hub.repos["org/mix"].tree()) == (sent, tree)


def test_killed_pushes_end_as_an_undisturbed_one(hub, tmp_path, monkeypatch, kills):
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 4)
    folder = tmp_path / "mix"
    write(bulky(tmp_path), folder, max_shard_size=1)
    push_to_hub(folder, "org/whole", token="hf_writer")
    whole = hub.repos["org/whole"].tree()
    data = {name: body for name, body in whole.items() if name.endswith(".parquet")}
    kill_push(hub, lambda: command(hub, tmp_path / "home", "push", folder, "org/torn", rows=4), data, kills)
    torn = hub.repos["org/torn"].tree()
    assert torn.pop("README.md") == whole.pop("README.md").replace(b"org/whole", b"org/torn").replace(
        b"# whole", b"# torn"
    )
    assert torn == whole


def test_another_recipes_data_is_not_overwritten_unasked(hub, mix):
    first, other = mix("one"), mix("other", seed=99)
    push_to_hub(first, "org/mix", config_name="web", token="hf_writer")
    with pytest.raises(OutputError) as refused:
        push_to_hub(other, "org/mix", config_name="web", token="hf_writer")
    prints = [(folder / "recipe.yaml").read_text().split("fingerprint ")[1][:12] for folder in (first, other)]
    assert str(refused.value) == (
        f"org/mix has a config 'web' already, of another recipe (fingerprint {prints[0]}, not {prints[1]}). "
        "Give --replace to put this mix in its place, or another --config-name."
    )
    push_to_hub(other, "org/mix", config_name="web", replace=True, token="hf_writer")
    tree = hub.repos["org/mix"].tree()
    here = {f"web/data/{path.name}": path.read_bytes() for path in (other / "data").iterdir()}
    assert {name: body for name, body in tree.items() if name.startswith("web/data/")} == here
    assert tree["README.md"].decode().count("<!-- mix web -->") == 1


def test_replaced_config_has_the_files_that_are_the_same_too(hub, mix):
    first, other = mix("one"), mix("other", description="Other words.")
    files = {path.name: path.read_bytes() for path in (first / "data").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (other / "data").iterdir()}
    for folder, again in ((first, False), (other, True)):
        push_to_hub(folder, "org/mix", config_name="web", replace=again, token="hf_writer")
    tree = hub.repos["org/mix"].tree()
    assert {name: tree[f"web/data/{name}"] for name in files} == files
    assert tree["web/recipe.yaml"] == (other / "recipe.yaml").read_bytes()


def test_other_limits_of_a_recipe_are_not_overwritten_unasked(hub, mix, recipe_file, tmp_path):
    push_to_hub(mix(), "org/mix", token="hf_writer")
    write(recipe_file("toy", OPEN), tmp_path / "few", max_shard_size=1, max_samples=20)
    assert (tmp_path / "few" / "recipe.yaml").read_bytes() == hub.repos["org/mix"].tree()["toy/recipe.yaml"]
    with pytest.raises(OutputError, match="has a config 'toy' already, written with max_samples=None, not 20\\. Give "):
        push_to_hub(tmp_path / "few", "org/mix", token="hf_writer")


def test_file_that_is_lost_while_a_mix_is_pushed_is_named(hub, api, mix):
    folder = mix()
    push_to_hub(folder, "org/mix", token="hf_writer")
    tree = hub.repos["org/mix"].tree()
    name = max(name for name in tree if name.startswith("toy/data/"))
    hub.repos["org/mix"].add("main", {each: body for each, body in tree.items() if each != name})
    filled = config_folder.ConfigFolder(repository.Repository("org/mix", api=api), "toy")
    with pytest.raises(OutputError, match=f"org/mix lost {name} while the mix was pushed"):
        filled.finish(load_recipe(folder / "recipe.yaml"), json.loads((folder / "stats.json").read_bytes()), {})


def test_file_of_the_same_name_and_other_content_is_sent_again(hub, mix):
    folder = mix()
    push_to_hub(folder, "org/mix", token="hf_writer")
    whole = hub.repos["org/mix"].tree()
    name = min(name for name in whole if name.startswith("toy/data/"))
    hub.repos["org/mix"].add("main", {**whole, name: whole[name][::-1]})
    push_to_hub(folder, "org/mix", token="hf_writer")
    assert hub.repos["org/mix"].tree() == whole


def test_files_that_are_no_mix_are_not_overwritten_unasked(hub, mix):
    hub.create("org/mix").add("main", {"toy/train-00000-of-00001.parquet": b"PAR1"})
    with pytest.raises(OutputError, match=r"whose folder holds toy/train-00000-of-00001\.parquet and no recipe"):
        push_to_hub(mix(), "org/mix", token="hf_writer")


def test_an_unknown_licence_keeps_a_new_repository_private(hub, mix, caplog):
    folder = mix(sources={**OPEN, "b": {"license": "per file"}, "c": {}})
    push_to_hub(folder, "org/mix", token="hf_writer")
    assert hub.repos["org/mix"].private is True
    assert caplog.messages[0] == (
        "org/mix becomes private: the licenses of b (per file), c (not stated) are not known to let the text be shared."
    )
    push_to_hub(folder, "org/shared", allow_public=["b", "c"], token="hf_writer")
    assert hub.repos["org/shared"].private is False


def test_a_public_repository_does_not_take_what_must_be_private(hub, mix):
    folder = mix(sources={**OPEN, "c": {}})
    hub.create("org/mix")
    with pytest.raises(OutputError) as refused:
        push_to_hub(folder, "org/mix", token="hf_writer")
    assert str(refused.value) == (
        "org/mix is public, and the license of c (not stated) is not known to let the text be shared. Push to another "
        "repository, make this one private, or give --allow-public c where you know that it may be."
    )
    with pytest.raises(OutputError) as refused:
        push_to_hub(folder, "org/mix", private=True, token="hf_writer")
    assert str(refused.value) == "org/mix is public, and --private was given. Push to another repository."
    with pytest.raises(OutputError) as refused:
        push_to_hub(folder, "org/mix", allow_public=["d"], token="hf_writer")
    assert str(refused.value) == "--allow-public 'd' names no source of the mix; its sources are a, b, c."


@pytest.mark.parametrize(
    "token, says", [("hf_reader", "cannot write to org/mix: "), ("hf_bad", "does not know who pushes")]
)
def test_access_is_tested_before_anything_is_sent(hub, mix, token, says):
    hub.create("org/mix")
    with pytest.raises(OutputError, match=says) as refused:
        push_to_hub(mix(), "org/mix", token=token)
    assert "hf auth login" in str(refused.value)
    assert hub.sent == hub.commits == []


def test_a_repository_with_a_script_of_its_own_name_is_refused(hub, mix):
    hub.create("org/mix").add("main", {"mix.py": b""})
    with pytest.raises(OutputError) as refused:
        push_to_hub(mix(), "org/mix", token="hf_writer")
    assert str(refused.value) == (
        "org/mix holds mix.py: datasets 4 and later refuse a repository with a script of its own name. "
        "Remove the script, or push to a repository of another name."
    )


def test_a_hub_that_is_not_well_is_asked_again(hub, mix):
    folder = mix()
    hub.problems = [503, 429]
    push_to_hub(folder, "org/mix", token="hf_writer")
    assert "README.md" in hub.repos["org/mix"].tree()
    hub.problems = [500] * 9
    with pytest.raises(OutputError, match=r"cannot write to org/other: .* run the same command again to go on\.$"):
        push_to_hub(folder, "org/other", token="hf_writer")


def test_a_commit_of_somebody_else_in_between_is_merged(hub, mix, monkeypatch):
    """Two pushes to one repository: the other's card comes after this one looked and before it commits."""
    folder = mix()
    push_to_hub(mix("other"), "org/mix", token="hf_writer")
    look = repo_card.merged
    seen = []

    def merged(*arguments):
        card = look(*arguments)
        if not seen:
            seen.append(card)
            hub.repos["org/mix"].add("main", {**hub.repos["org/mix"].tree(), "between.txt": b"here"})
        return card

    monkeypatch.setattr(config_folder, "merged", merged)
    push_to_hub(folder, "org/mix", token="hf_writer")
    tree = hub.repos["org/mix"].tree()
    assert tree["between.txt"] == b"here"
    configs = DatasetCard(tree["README.md"].decode()).data.to_dict()["configs"]
    assert [config["config_name"] for config in configs] == ["other", "toy"]


def test_a_branch_is_made_where_it_is_missing(hub, mix):
    push_to_hub(mix(), "org/mix", revision="v2", token="hf_writer")
    assert "README.md" in hub.repos["org/mix"].tree("v2")
    assert "README.md" not in hub.repos["org/mix"].tree()


def test_what_cannot_be_pushed_is_said_before_the_hub_is_asked(hub, mix, tmp_path):
    folder = mix()
    with pytest.raises(OutputError, match="'mix' is no repository of the Hub; expected owner/name"):
        push_to_hub(folder, "mix", token="hf_writer")
    with pytest.raises(OutputError, match="'a/b' cannot name a config"):
        push_to_hub(folder, "org/mix", config_name="a/b", token="hf_writer")
    with pytest.raises(OutputError, match=r"is no written mix: it has no data\. Give a folder that"):
        push_to_hub(tmp_path, "org/mix", token="hf_writer")
    shutil.copytree(folder, tmp_path / "short")
    next((tmp_path / "short/data").iterdir()).unlink()
    with pytest.raises(OutputError, match=r"is missing: stats\.json says"):
        push_to_hub(tmp_path / "short", "org/mix", token="hf_writer")
    assert hub.requests == 0


@pytest.mark.parametrize(
    "stated, hub_id, shared",
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
def test_licences(stated, hub_id, shared):
    assert (classify_license(stated).hub, classify_license(stated).shareable) == (hub_id, shared)


def test_every_licence_of_the_shipped_recipes_is_judged_on_purpose():
    stated = set()
    for path in (ROOT / "configs").glob("*.yaml"):
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
        stated |= {source.get("license") for source in written.get("datasets", [])}  # a curriculum has only stages
    unknown = {each for each in stated if not classify_license(each).shareable}
    assert unknown <= {None, "per file", "per document", "not stated"}


PLAIN = """
import smollm3_mix
from datasets import IterableDataset, load_dataset
whole = smollm3_mix.load(recipe, streaming=False)
whole.push_to_hub("org/plain")
same = [list(load_dataset("org/plain", split="train")) == list(whole)]
if hasattr(IterableDataset, "push_to_hub"):  # datasets 4 and later
    stream = smollm3_mix.load(recipe)
    stream.push_to_hub("org/streamed")
    given = sorted(record["id"] + record["text"] for record in stream)
    same.append(sorted(r["id"] + r["text"] for r in load_dataset("org/streamed", split="train")) == given)
print(json.dumps(same))
"""


def test_what_load_gives_can_be_pushed_by_datasets_itself(hub, recipe_file, tmp_path, monkeypatch):
    for key, value in environment(hub).items():
        monkeypatch.setenv(key, value)
    assert set(run(PLAIN, tmp_path, hub.endpoint, recipe=recipe_file(lanes=2))) == {True}
    names = {path for repo in hub.repos.values() for path in repo.tree()}
    assert any(name.startswith("data/train-00000") for name in names)
