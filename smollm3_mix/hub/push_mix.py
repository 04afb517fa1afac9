"""Push a written mix to the Hub as one config of a dataset repository."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from smollm3_mix.errors import OutputError
from smollm3_mix.hub.hub_target import HubTarget
from smollm3_mix.network.urls import Token
from smollm3_mix.output import output_layout
from smollm3_mix.output.written_mix import WrittenMix
from smollm3_mix.recipe.read_recipe import load_recipe


def push_to_hub(
    mix: WrittenMix | str | os.PathLike[str],
    repo_id: str,
    *,
    config_name: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
    replace: bool = False,
    allow_public: Collection[str] = (),
    commit_message: str | None = None,
    create_pr: bool = False,
    token: Token = None,
) -> str:
    """Upload a written mix as one config of a dataset repository, which `datasets` loads without code.

    A repeated call resumes an interrupted upload: it sends only missing files.

    Args:
        mix: Written mix, or its folder.
        repo_id: Dataset repository as `owner/name`. Created if it does not exist.
        config_name: Name of the config. Defaults to the mix's name.
        private: Whether to require a private repository. By default, a new repository is public only if every license
            allows sharing, and an existing repository stays as it is.
        revision: Branch to push to. Defaults to `main`.
        replace: Whether to replace a different mix of the same config name.
        allow_public: Ids of sources that may be public although their license is unknown or restrictive.
        commit_message: Title of the commits.
        create_pr: Whether to open a pull request in place of pushing to a branch.
        token: Hugging Face access token. Defaults to the saved login.

    Returns:
        URL of the repository or pull request.

    Raises:
        OutputError: If the folder has no finished mix in Parquet, the config has a different mix, or the repository is
            public but must not be.
        HubError: If the Hub refuses or is unreachable.
    """
    folder = Path(mix)
    summary = _pushable_summary(folder, repo_id)
    recipe = load_recipe(folder / output_layout.RECIPE)
    target = HubTarget(
        repo_id,
        config_name=config_name or summary["name"],
        private=private,
        revision=revision,
        replace=replace,
        allow_public=tuple(allow_public),
        commit_message=commit_message,
        create_pr=create_pr,
        token=token,
    )
    target.check(recipe)
    target.begin(recipe, (folder / output_layout.RECIPE).read_bytes(), summary["request"])
    target.send({name: folder / output_layout.DATA / name for name in summary["files"]})
    target.finish(recipe, summary, output_layout.other_files(folder))
    return target.url


def _pushable_summary(folder: Path, repo_id: str) -> dict[str, Any]:
    """Return the content of stats.json. Raise OutputError unless the folder has a finished mix in Parquet."""
    if problem := output_layout.unfinished_reason(folder):
        raise OutputError(problem, path=str(folder))
    summary: dict[str, Any] = json.loads((folder / output_layout.STATS).read_bytes())
    format_name = output_layout.written_format(summary)
    if format_name != "parquet":
        raise OutputError(
            f"{folder} has format {format_name!r}, but push needs Parquet, which load_dataset opens. "
            f"Upload the files: hf upload {repo_id} {folder} --repo-type dataset",
            path=str(folder),
        )
    _check_files(folder, summary["files"])
    return summary


def _check_files(folder: Path, files: Mapping[str, int]) -> None:
    """Raise OutputError if a file is missing or has another size than stats.json says."""
    for name, size in files.items():
        path = folder / output_layout.DATA / name
        if not path.exists() or path.stat().st_size != size:
            raise OutputError(
                f"{path} {'has another size' if path.exists() else 'is missing'}: {output_layout.STATS} says "
                f"{size:,} bytes. Run `smollm3-mix verify {folder}`.",
                path=str(path),
            )
