"""A small language model trained on packed windows of the demo mixture; killed at any moment, it goes on as before.

    pip install "smollm3_mix[tokenizers]" torch
    python examples/train.py --output run        # about two minutes on a CPU; kill -9 it and type the same again

`run/tokenizer.json` is trained on the first records of the mixture. A checkpoint holds model, optimizer and the place
in the mixture, and is put in place whole. `run/log.jsonl` has a line for each step: loss, and a digest of the batch.
"""

import argparse
import hashlib
import itertools
import json
import os
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional

import smollm3_mix
import smollm3_mix.mix.mix
import smollm3_mix.mix.open_mix
import smollm3_mix.packing.packed_mix

END = "<|endoftext|>"


class Model(nn.Module):
    """A decoder of a few layers whose tokens see those before them in the same document."""

    def __init__(self, vocab: int, width: int = 96, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.tokens, self.places = heads, nn.Embedding(vocab, width), nn.Embedding(4096, width)
        block = nn.TransformerEncoderLayer
        blocks = [block(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(layers)]
        self.blocks, self.norm = nn.ModuleList(blocks), nn.LayerNorm(width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Logits of the next token, float[batch, length, vocab]."""
        document = (places == 0).cumsum(1)  # its number in the window
        later = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        hidden = (document[:, :, None] != document[:, None, :]) | later
        hidden = hidden.repeat_interleave(self.heads, 0)
        x = self.tokens(ids) + self.places(places)
        for block in self.blocks:
            x = block(x, src_mask=hidden)
        return self.norm(x) @ self.tokens.weight.T


def tokenizer(path: Path, mix: smollm3_mix.Mix, vocab: int = 1024) -> Path:
    """The tokenizer's file, trained on the mixture's first records if it is not there yet."""
    if not path.exists():
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        words = {"special_tokens": [END], "initial_alphabet": alphabet, "show_progress": False}
        trainer = trainers.BpeTrainer(vocab_size=vocab, **words)
        texts = (record["text"] for record in itertools.islice(mix.stream(), 300))
        bpe.train_from_iterator(texts, trainer)
        in_place(path, lambda aside: bpe.save(str(aside)))
    return path


def in_place(path: Path, save) -> None:
    """Save aside, then rename: the file is never seen half-written."""
    aside = path.with_name(path.name + ".tmp")
    save(aside)
    aside.replace(path)


def main() -> None:
    """Train, from the last checkpoint if there is one."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--output", type=Path, default=Path("run"), help="folder of checkpoint, log and tokenizer")
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--batch", type=int, default=8, help="windows in a step")
    options.add_argument("--length", type=int, default=128, help="inputs of a window")
    options.add_argument("--every", type=int, default=25, help="steps between checkpoints")
    asked = options.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the same sums on every machine

    mix = smollm3_mix.open_mix("demo")
    file = tokenizer(asked.output / "tokenizer.json", mix)
    windows = smollm3_mix.open_packed(mix, tokenizer=file, sequence_length=asked.length).stream()
    model = Model(Tokenizer.from_file(str(file)).get_vocab_size())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    begin, checkpoint = 0, asked.output / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        begin = saved["step"]
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        windows.load_state_dict(json.loads(saved["windows"]))
        print(f"on from step {begin}")

    log = (asked.output / "log.jsonl").open("a", buffering=1)
    for step in range(begin + 1, asked.steps + 1):
        batch = windows.read(asked.batch)
        rows = [np.stack(batch[name].to_numpy(zero_copy_only=False)) for name in ("input_ids", "position_ids")]
        ids, places = (torch.from_numpy(row).long() for row in rows)
        logits = model(ids[:, :-1], places[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        digest = hashlib.sha256(rows[0].tobytes() + rows[1].tobytes()).hexdigest()[:16]
        log.write(json.dumps({"step": step, "loss": round(loss.item(), 4), "batch": digest, "pid": os.getpid()}) + "\n")
        if step % asked.every == 0 or step == asked.steps:
            state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            state["windows"] = json.dumps(windows.state_dict())
            in_place(checkpoint, lambda aside, state=state: torch.save(state, aside))
            print(f"step {step}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
