"""Pushed mixes over local files: no folder of this machine is uploaded."""

import json
import logging
import shutil

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import document, jsonl, parquet

from smollm3_mix.hub.hub_target import HubTarget
from smollm3_mix.hub.push_mix import push_to_hub
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.display_names import display_name
from smollm3_mix.recipe.public_paths import public_recipe, redact_paths
from smollm3_mix.recipe.read_recipe import load_recipe
from smollm3_mix.recipe.shipped import list_recipes
from smollm3_mix.verification.verify_mix import verify

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # raised inside huggingface_hub


def local_recipe(home, **top):
    """Write a recipe over files below `home`, named by absolute paths: a folder, a file, a glob and `data_files`."""
    texts = {key: [document(key, number) for number in range(40)] for key in "abcde"}
    sources = [
        {"name": str(parquet(home / "web", texts["a"]))},
        {"name": str(jsonl(home / "deep/code", texts["b"]).joinpath("all.jsonl").rename(home / "deep/code.jsonl"))},
        {"name": str(jsonl(home / "notes/2024", texts["c"]).parent / "*/*.jsonl"), "id": "notes"},
        {"name": "parquet", "data_files": str(parquet(home / "more", texts["d"]) / "*.parquet"), "id": "more"},
        {"name": str(home / "missing"), "id": "missing"},
    ]
    recipe = {
        "lanes": 2,
        "on_exhausted": "stop",
        "filters": {"min_chars": 1},
        "decontaminate": str(jsonl(home / "ours", [document("e", 3), document("z", 60)]) / "all.jsonl"),
        "datasets": [{**source, "weight": 1, "license": "CC0-1.0"} for source in sources],
        **top,
    }
    (home / "mine.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return home / "mine.yaml"


def records(folder):
    return [record for path in sorted((folder / "data").iterdir()) for record in pq.read_table(path).to_pylist()]


@pytest.fixture
def mix(tmp_path):
    """Write a mix with local sources below `secret`, one of which cannot be read."""
    (tmp_path / "secret").mkdir()
    write(local_recipe(tmp_path / "secret"), tmp_path / "mix", skip_unreadable=True)
    return tmp_path / "mix"


def test_records_do_not_depend_on_the_folder_of_local_files(tmp_path, mix):
    (tmp_path / "other").mkdir()
    write(local_recipe(tmp_path / "other"), tmp_path / "again", skip_unreadable=True)
    assert records(tmp_path / "again") == records(mix)
    assert {record["file"] for record in records(mix)} == {
        *("web/part-00.parquet", "web/part-01.parquet", "code.jsonl", "notes/2024/all.jsonl"),
        *("more/part-00.parquet", "more/part-01.parquet"),
    }
    assert not any(str(tmp_path) in json.dumps(record) for record in records(mix))


def test_written_recipe_rebuilds_the_mix_on_this_machine(tmp_path, mix):
    write(mix / "recipe.yaml", tmp_path / "again")
    assert records(tmp_path / "again") == records(mix)


def leaks(hub, repository, secret):
    """Return the files of a repository that contain a word."""
    return [path for path, content in hub.repos[repository].tree().items() if secret in content]


def test_push_uploads_no_local_folder(hub, mix, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "smollm3_mix"):
        push_to_hub(mix, "org/mix", token="hf_writer")
    assert leaks(hub, "org/mix", b"secret") == leaks(hub, "org/mix", str(tmp_path).encode()) == []
    home = tmp_path / "secret"
    assert caplog.messages[0] == (
        f"Sources with local files: web ({home}/web), code.jsonl ({home}/deep/code.jsonl), notes "
        f"({home}/notes/*/*.jsonl), more (parquet). org/mix gets the mixed texts without folder names. The mix cannot "
        "be written again without these files."
    )
    tree = hub.repos["org/mix"].tree()
    recipe = yaml.safe_load(tree["mine/recipe.yaml"])
    assert [source["name"] for source in recipe["datasets"]] == [
        "web",
        "code.jsonl",
        "notes/*/*.jsonl",
        "parquet",
        "missing",
    ]
    assert recipe["datasets"][3]["data_files"] == ["more/*.parquet"]
    assert recipe["decontaminate"]["texts"][0]["name"] == "all.jsonl"
    assert json.loads(tree["mine/stats.json"])["skipped"]["missing"].startswith("no local file or folder 'missing'")
    for card in ("README.md", "mine/README.md"):
        assert "(local files)" in tree[card].decode()
        assert (
            "To rebuild the mix, you need the local files of `web`, `code.jsonl`, `notes`, `more`."
            in tree[card].decode()
        )
    before = len(hub.sent)
    push_to_hub(mix, "org/mix", token="hf_writer")  # a repeated push recognizes the mix
    assert (len(hub.sent), hub.repos["org/mix"].tree()) == (before, tree)


def test_downloaded_folder_is_a_written_mix(hub, mix, tmp_path, monkeypatch):
    push_to_hub(mix, "org/mix", token="hf_writer")
    for path, content in hub.repos["org/mix"].tree().items():
        (tmp_path / "down" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "down" / path).write_bytes(content)
    report = verify(tmp_path / "down/mine")
    assert report.problems == ()
    assert [row.source for row in report.rows] == ["web", "code.jsonl", "notes", "more"]
    home = tmp_path / "secret"  # next to the files of its sources, the pushed recipe rebuilds the mix
    shutil.copy(tmp_path / "down/mine/recipe.yaml", home)
    shutil.copy(home / "deep/code.jsonl", home)
    shutil.copy(home / "ours/all.jsonl", home)
    monkeypatch.chdir(home)
    write(home / "recipe.yaml", tmp_path / "again")
    assert records(tmp_path / "again") == records(mix)


def test_push_to_uploads_no_local_folder(hub, mix, tmp_path):
    file = tmp_path / "secret/mine.yaml"
    target = HubTarget("org/sent", token="hf_writer")
    write(file, tmp_path / "sent", skip_unreadable=True, push_to=target)
    push_to_hub(mix, "org/pushed", token="hf_writer")
    sent, pushed = hub.repos["org/sent"].tree(), hub.repos["org/pushed"].tree()
    assert sent.pop("README.md") == pushed.pop("README.md").replace(b"org/pushed", b"org/sent").replace(
        b"# pushed", b"# sent"
    )
    assert sent == pushed
    assert leaks(hub, "org/sent", b"secret") == []


def test_push_of_the_demo_uploads_no_local_folder(hub, tmp_path, caplog):
    write("demo", tmp_path / "demo", max_tokens=20_000)
    push_to_hub(tmp_path / "demo", "org/demo", token="hf_writer")
    text = json.dumps(records(tmp_path / "demo")[0] | {"text": ""})
    assert not any(
        record["file"].startswith("/") or record["id"].startswith("/") for record in records(tmp_path / "demo")
    ), text
    assert "Sources with local files" not in caplog.text  # every Python has the files of the demo
    for path, content in hub.repos["org/demo"].tree().items():
        if not path.endswith(".parquet"):
            assert str(tmp_path).encode() not in content
            assert b"(local files)" not in content


@pytest.mark.parametrize(
    "name, expected",
    [
        ("owner/name", "owner/name"),
        ("../web", "../web"),
        ("/home/me/web/", "web"),
        ("~/web", "web"),
        ("C:\\me\\web", "web"),
        ("file:///home/me/web/*.json", "web/*.json"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("python:stdlib", "python:stdlib"),
    ],
)
def test_display_name_has_no_local_folder(name, expected):
    assert display_name(name) == expected


def test_redact_paths_removes_local_folders():
    message = (
        "no data files in '/home/me/my web'; /home/me/x.jsonl cannot be read: see https://a.org/b/c, or ask owner/name"
    )
    assert redact_paths(message) == (
        "no data files in 'my web'; x.jsonl cannot be read: see https://a.org/b/c, or ask owner/name"
    )


def test_card_explains_a_different_fingerprint(hub, mix, tmp_path):
    push_to_hub(mix, "org/mix", token="hf_writer")
    tree = hub.repos["org/mix"].tree()
    mixed = json.loads(tree["mine/stats.json"])["recipe"]
    assert mixed in tree["README.md"].decode()
    assert mixed not in tree["mine/recipe.yaml"].decode()
    note = "`recipe.yaml` names files without their folders, so its fingerprint differs from the one below"
    assert note in tree["mine/README.md"].decode()
    assert note not in (mix / "README.md").read_text(encoding="utf-8")  # the local recipe has the same fingerprint


def test_public_recipe_is_unchanged_without_local_paths():
    for name in list_recipes():
        recipe = load_recipe(name)
        assert public_recipe(recipe) is recipe


def test_public_recipe_of_a_curriculum_has_no_local_folder(tmp_path):
    one = {"datasets": [{"name": str(tmp_path / "secret/web"), "id": "w", "weight": 1}], "tokens": "per_byte"}
    stages = [{"name": name, "tokens": 1000, "recipe": one} for name in ("first", "second")]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"stages": stages}))
    public = public_recipe(load_recipe(tmp_path / "mine.yaml"))
    assert [source.name for stage in public.stages for source in stage.recipe.sources] == ["w", "w"]
    assert "secret" not in public.to_yaml()
