"""A written mix put on the Hub as one config of a dataset repository, all at once."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from huggingface_hub import HfApi

from smollm3_mix.errors import OutputError
from smollm3_mix.hub.hub_target import HubTarget
from smollm3_mix.output import output_layout
from smollm3_mix.recipe.read_recipe import load_recipe


def push_to_hub(
    folder: str | os.PathLike[str],
    repository: str,
    *,
    config_name: str | None = None,
    private: bool = False,
    revision: str | None = None,
    replace: bool = False,
    allow_public: Collection[str] = (),
    api: HfApi | None = None,
) -> str:
    """URL of the repository in which the written mix now is a config that any `datasets` loads.

    Repeated after an interruption, it sends only what is not there. A new repository is public only where every source
    has a license that is known to let the text be shared.

    Args:
        folder: a mix that `write` has finished.
        repository: `owner/name`; made if it is not there.
        config_name: default: the recipe's name.
        private: make it private whatever the licenses say.
        revision: branch to push to; default: main.
        replace: put the mix in the place of another one of that name.
        allow_public: ids of sources whose text may be shared though their license does not say so.
        api: client of the Hub; default: one with the endpoint and token of this machine.

    Raises:
        OutputError: the folder holds no finished mix; the Hub cannot be reached or may not be written; another recipe's
            data is there; or the mix must not be public and the repository is.
    """
    place = Path(folder)
    if fault := output_layout.unfinished_reason(place):
        raise OutputError(fault)
    recipe = load_recipe(place / output_layout.RECIPE)
    summary = json.loads((place / output_layout.STATS).read_bytes())
    form = output_layout.written_format(summary)
    if form != "parquet":
        raise OutputError(
            f"{place} was written with --format {form}; push takes Parquet, which load_dataset opens. "
            f"Upload it as it is: hf upload {repository} {place} --repo-type dataset"
        )
    _check_whole(place, summary["files"])
    outlet = HubTarget(
        recipe,
        repository,
        config_name=config_name or summary["name"],
        private=private,
        revision=revision,
        replace=replace,
        allow_public=allow_public,
        api=api,
    )
    outlet.begin(recipe, (place / output_layout.RECIPE).read_bytes(), summary["request"])
    outlet.send({name: place / output_layout.DATA / name for name in summary["files"]})
    outlet.finish(recipe, summary, output_layout.other_files(place))
    return outlet.url


def _check_whole(place: Path, files: Mapping[str, int]) -> None:
    for name, size in files.items():
        path = place / output_layout.DATA / name
        if not path.exists() or path.stat().st_size != size:
            raise OutputError(
                f"{path} {'has another size' if path.exists() else 'is missing'}: {output_layout.STATS} says "
                f"{size:,} bytes. Run `smollm3-mix verify {place}`."
            )
