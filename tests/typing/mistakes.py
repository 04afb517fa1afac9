"""Ten mistakes that `mypy --strict` must report. A comment names the error of each, and mypy reports unused ones."""

import smollm3_mix
from smollm3_mix import MixLoader, open_mix

open_mix("stage1", lane=4)  # type: ignore[arg-type]
open_mix("stage1", split="test")  # type: ignore[arg-type]
open_mix("stage1", max_tokens=1.5)  # type: ignore[arg-type]
open_mix({"name": "mine"})  # type: ignore[arg-type]
smollm3_mix.load("stage1", max_bites="1MB")  # type: ignore[call-overload]
smollm3_mix.open_written("mix").tally  # type: ignore[attr-defined]  # noqa: B018
smollm3_mix.write("stage1", "mix", num_proc="2")  # type: ignore[arg-type]
smollm3_mix.write("stage1", "mix")["train"]  # type: ignore[index]
next(iter(MixLoader("stage1", 8, format="pandas")))  # type: ignore[call-overload]
smollm3_mix.push_to_hub("me/mix")  # type: ignore[call-arg]
