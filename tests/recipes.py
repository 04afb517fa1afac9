"""Recipes that several tests read, and the faults of a text."""

import tempfile
from pathlib import Path

import pytest

from smollm3_mix.errors import RecipeError
from smollm3_mix.recipe.read_recipe import load_recipe

SMALL = "datasets:\n  - {name: a/b, weight: 1}\n"

WHOLE = """
description: One line.
seed: 7
lanes: 4
weigh_by: bytes
order: iid
block: {rows: 512, bytes: 1MiB}
shuffle: none
tokens: per_byte
clean: prose
filters: {min_chars: 50}
dedup: {exact: true, near: {bands: 4, rows: 2, ngram: 5}, memory: 1GiB}
holdout: {fraction: 0.001, tokens: 2.5B}
on_exhausted: stop
datasets:
  - name: HuggingFaceFW/fineweb-edu
    id: fineweb-edu
    config: sample-10BT
    data_dir: null
    revision: null
    split: train
    text_field: text
    where: [[int_score, ">=", 3], [lang, in, [en, fr]]]
    keep: [url]
    kind: {type: prose, language: en}
    license: ODC-By-1.0
    tokens_per_byte: 0.23
    weight: 0.333
    max_passes: 2
  - name: org/code
    text_field: [title, body.text]
    separator: " "
    data_files: data/*.parquet
    kind: code
    clean: {profile: code}
    filters: {max_chars: 10M}
    weight: 1e-5
  - id: pull-requests
    weight: 0.006
    unavailable: No public repository.
"""

LISTS = """
english_datasets:
  - name: HuggingFaceFW/fineweb-2
    description: English
    text_field: text
    config: eng_Latn
    split: train
    streaming: true
    categories: [general]
    verified: true
    source: SmolLM3
    note: x
  - {name: a/code, kind: {type: code, language: Python}}
vietnamese_datasets:
  - {name: HuggingFaceFW/fineweb-2, config: vie_Latn, streaming: false}
filtering:
  min_length: 100
  max_length: 1000000
  keep_keywords: [code]
  exclude_keywords:
  deduplication: {enabled: false, similarity_threshold: 0.85}
output: {push_to_hub: true}
"""


def faults_of(text, **options):
    """The sentences of the one error that reading this text as a file raises."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mine.yaml"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(RecipeError) as error:
            load_recipe(file, **options)
        assert error.value.file == str(file)
        return error.value.problems
