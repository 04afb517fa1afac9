"""Mixes and recipes put on the Hub, by `huggingface_hub`'s own uploads.

repository  one repository: may it be written, what is there, commits
access      whether a mix may be public, and whether the repository may be written
card        the card of a repository with several mixes
target      one config of a repository, being filled
outlet      where a mix goes, at once or while it is written
mixes       a written mix, all at once
recipes     a repository of recipes
"""

from smollm3_mix.publish.mixes import push
from smollm3_mix.publish.outlet import Outlet
from smollm3_mix.publish.recipes import publish_recipe

__all__ = ["Outlet", "publish_recipe", "push"]
