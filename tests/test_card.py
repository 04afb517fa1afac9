"""Every number of the card of a written mix, recomputed from its statistics and recipe."""

import json
import re

import pytest
from huggingface_hub import DatasetCard

from smollm3_mix.output import lane_writer
from smollm3_mix.output.write_mix import write
from smollm3_mix.recipe.read_recipe import load_recipe


@pytest.fixture
def mix(recipe_file, tmp_path, monkeypatch):
    """Return the folder of a mix with duplicates, short texts, a holdout, several passes and an unavailable source."""
    monkeypatch.setattr(lane_writer, "GROUP_ROWS", 60)
    sources = {"b": {"license": "ODC-By-1.0", "filters": {"min_chars": 90}}, "c": {"max_passes": 3}}
    file = recipe_file("toy", sources, holdout={"fraction": 0.1}, on_exhausted="stop")
    file.write_text(file.read_text() + "- {id: gone, weight: 0.25, unavailable: It is not public.}\n")
    write(file, tmp_path / "mix", max_shard_size=1)
    return tmp_path / "mix"


def tables(text):
    """Return the Markdown tables of a text, each row as a dict by column."""
    found = []
    for lines in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in lines.splitlines()]
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def number(cell):
    return float(cell.replace(",", "").removesuffix("%").removesuffix(" pp"))


def test_tables_of_the_card_have_the_numbers_of_the_stats_file(mix):
    card = DatasetCard((mix / "README.md").read_text(encoding="utf-8"))
    stats, recipe = json.loads((mix / "stats.json").read_bytes()), load_recipe(mix / "recipe.yaml")
    train = stats["splits"]["train"]
    own, total = train["sources"], sum(each["emitted_units"] for each in train["sources"].values())
    shares, drops, origins = tables(card.text)
    longest = {id_: own[id_]["longest"] for id_ in recipe.shares}
    bounds = [longest[id_] + share * sum(longest.values()) for id_, share in recipe.shares.items()]
    assert [row["source"] for row in shares] == [*recipe.shares, "total"]
    for row, bound in zip(shares, bounds, strict=False):
        mine, target = own[row["source"]], recipe.shares[row["source"]]
        actual = mine["emitted_units"] / total
        duplicates = sum(mine["dropped"].get(reason, 0) for reason in ("duplicate", "near_duplicate"))
        assert [number(cell) for cell in list(row.values())[1:]] == pytest.approx(
            [
                *(round(100 * target, 4), round(100 * actual, 4), round(100 * (actual - target), 4)),
                *(mine["emitted_units"], mine["emitted"], round(mine["max_discrepancy"]), round(bound)),
                *(duplicates, sum(mine["dropped"].values()) - duplicates),
            ]
        )
    train_total = train["total"]
    duplicates = sum(train_total["dropped"].get(reason, 0) for reason in ("duplicate", "near_duplicate"))
    assert [number(shares[-1][key]) for key in ("tokens", "records", "duplicates", "dropped")] == [
        *(
            train_total["emitted_units"],
            train_total["emitted"],
            duplicates,
            sum(train_total["dropped"].values()) - duplicates,
        )
    ]
    assert [row["source"] for row in drops] == [id_ for id_, mine in own.items() if sum(mine["dropped"].values())]
    assert {"holdout", "too_short", "duplicate"} <= set(train_total["dropped"])
    for row in drops:
        mine = own[row["source"]]
        reasons = dict(each.rsplit(" ", 1) for each in row["reasons"].split(", "))
        assert {reason: number(rows) for reason, rows in reasons.items()} == {
            r: n for r, n in mine["dropped"].items() if n
        }
        dropped = sum(mine["dropped"].values())
        assert (number(row["read"]), number(row["dropped"])) == (mine["read"], dropped)
        assert row["part"] == f"{dropped / mine['read']:.1%}"
    assert [(row["source"], row["revision"], int(row["passes"])) for row in origins] == [
        (source.id, source.revision, own[source.id]["passes"]) for source in recipe.active
    ]
    assert max(mine["passes"] for mine in own.values()) > 1


def test_card_has_the_other_numbers_of_the_stats_file(mix):
    card = DatasetCard((mix / "README.md").read_text(encoding="utf-8"))
    stats = json.loads((mix / "stats.json").read_bytes())
    train, held_out = (stats["splits"][split]["total"] for split in ("train", "validation"))
    size = sum(path.stat().st_size for path in (mix / "data").iterdir())
    assert (
        f"{train['emitted']:,} records ({train['emitted_tokens']:,} tokens, {train['emitted_bytes']:,} bytes of text) "
        f"of 3 sources in 2 lanes, and {held_out['emitted']:,} records held out for validation, in "
        f"{len(stats['files'])} files of {size:,} bytes." in card.text
    )
    assert "* `gone` (20.0000% of the weights): It is not public." in card.text
    assert stats["recipe"] in card.text
    (info,) = card.data.to_dict()["dataset_info"]
    assert info["splits"] == [
        {"name": name, "num_bytes": counts["emitted_bytes"], "num_examples": counts["emitted"]}
        for name, counts in (("train", train), ("validation", held_out))
    ]
    assert (info["download_size"], info["dataset_size"]) == (size, train["emitted_bytes"] + held_out["emitted_bytes"])
    emitted = {source: mine["emitted_units"] for source, mine in stats["splits"]["train"]["sources"].items()}
    chart = re.search(r"```text\n(.*?)```", card.text, re.DOTALL)[1].splitlines()
    assert chart[0].split() == ["target", "actual"]
    for line, (source, units) in zip(chart[1:], emitted.items(), strict=True):
        name, _, share, bar = line.split()
        assert (name, share) == (source, f"{units / sum(emitted.values()):.4%}")
        assert bar.count("█") == pytest.approx(40 * units / max(emitted.values()), abs=1)
