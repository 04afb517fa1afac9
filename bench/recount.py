"""Recount the shares and discrepancies of a written mix without any code of the package.

    python bench/recount.py DIR

Reads DIR/recipe.yaml as plain YAML and the train files below DIR/data in order. Prints one line per source. Exits with
1 if a discrepancy exceeds longest + share × sum of all longest, after any record of any lane. The longest documents
come from DIR/stats.json, because a document that is pending at the end of a lane is in no file and still counts.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import yaml


def main(folder: Path) -> int:
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    read = [d for d in recipe["datasets"] if not d.get("unavailable") and d["weight"] > 0]
    total_weight = sum(d["weight"] for d in read)
    shares = {d["id"]: d["weight"] / total_weight for d in read}
    ratios = {d["id"]: d.get("tokens_per_byte", 0.25) for d in read}
    stats = json.loads((folder / "stats.json").read_text(encoding="utf-8"))["splits"]["train"]["sources"]
    longest = {source: stats[source]["longest"] for source in shares}
    lanes = defaultdict(list)
    for path in sorted((folder / "data").rglob("train-*.parquet"), key=lambda path: path.name):
        lanes[path.name.split("-")[1]].append(path)
    given, records = dict.fromkeys(shares, 0), dict.fromkeys(shares, 0)
    ratio_to_bound, over = dict.fromkeys(shares, 0.0), []
    for lane, paths in lanes.items():
        total, mine = 0, dict.fromkeys(shares, 0)
        largest = dict.fromkeys(shares, 0.0)
        for path in paths:
            for batch in pq.ParquetFile(path).iter_batches(columns=["text", "source"]):
                for text, source in zip(batch["text"].to_pylist(), batch["source"].to_pylist(), strict=True):
                    tokens = max(1, round(len(text.encode("utf-8")) * ratios[source]))
                    total += tokens
                    mine[source] += tokens
                    records[source] += 1
                    if tokens > longest[source]:
                        over.append(f"{path.name}: {source} has {tokens:,} tokens; stats.json: {longest[source]:,}")
                    for each, share in shares.items():
                        discrepancy = abs(share * total - mine[each])
                        if discrepancy > largest[each]:
                            largest[each] = discrepancy
        for each, share in shares.items():
            bound = longest[each] + share * sum(longest.values())
            ratio_to_bound[each] = max(ratio_to_bound[each], largest[each] / bound)
            if largest[each] > bound:
                over.append(f"lane {lane}: {each}: discrepancy {largest[each]:,.0f} exceeds the bound {bound:,.0f}")
            given[each] += mine[each]
    everything = sum(given.values())
    print(
        f"{'source':40} {'target':>10} {'actual':>10} {'diff (pp)':>12} {'records':>9} {'max discrepancy / bound':>19}"
    )
    for each, share in shares.items():
        got = given[each] / everything
        shown = f"{share:10.4%} {got:10.4%} {100 * (got - share):+12.4f} {records[each]:9,}"
        print(f"{each:40} {shown} {ratio_to_bound[each]:19.2f}")
    off = max(abs(given[s] / everything - shares[s]) for s in shares)
    print(
        f"{everything:,} tokens in {sum(records.values()):,} records; largest difference of a share: {100 * off:.4f} pp"
    )
    print("\n".join(over) or "Every discrepancy is within its bound at every prefix of every lane.")
    return bool(over)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
