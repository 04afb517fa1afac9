"""Train a small language model on packed windows of the demo mix, with exact resume after a kill.

    pip install "smollm3_mix[tokenizers]" torch
    python examples/train.py --output run   # about two minutes on a CPU; kill -9 it and run the same command again

`run/tokenizer.json` is trained on the first records of the mix. A checkpoint has the model, the optimizer and the
position in the mix, and is replaced atomically. `run/log.jsonl` has a line per step: the loss and a batch digest.
"""

import argparse
import hashlib
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional

import smollm3_mix

END = "<|endoftext|>"


class Model(nn.Module):
    """A small decoder. A token attends to the previous tokens of its document."""

    def __init__(self, vocab: int, width: int = 96, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.tokens, self.positions = heads, nn.Embedding(vocab, width), nn.Embedding(4096, width)
        block = nn.TransformerEncoderLayer
        blocks = [block(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(layers)]
        self.blocks, self.norm = nn.ModuleList(blocks), nn.LayerNorm(width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next token, float[batch, length, vocab]."""
        document = (positions == 0).cumsum(1)  # number of the document in the window
        later = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        hidden = ((document[:, :, None] != document[:, None, :]) | later).repeat_interleave(self.heads, 0)
        x = self.tokens(ids) + self.positions(positions)
        for block in self.blocks:
            x = block(x, src_mask=hidden)
        return self.norm(x) @ self.tokens.weight.T


def tokenizer(path: Path, mix: smollm3_mix.Mix, vocab: int = 1024) -> Path:
    """Return the file of the tokenizer. Train it on the first records of the mix if it does not exist."""
    if not path.exists():
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        options = {"special_tokens": [END], "initial_alphabet": alphabet, "show_progress": False}
        trainer = trainers.BpeTrainer(vocab_size=vocab, **options)
        texts = (record["text"] for record in itertools.islice(mix.stream(), 300))
        bpe.train_from_iterator(texts, trainer)
        replace(path, lambda temporary: bpe.save(str(temporary)))
    return path


def replace(path: Path, save: Callable[[Path], object]) -> None:
    """Save to a temporary file, then rename it, so that the file is always complete."""
    temporary = path.with_name(path.name + ".tmp")
    save(temporary)
    temporary.replace(path)


def main() -> None:
    """Train from the last checkpoint, or from the start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("run"), help="folder of checkpoint, log and tokenizer")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8, help="windows per step")
    parser.add_argument("--length", type=int, default=128, help="input tokens per window")
    parser.add_argument("--every", type=int, default=25, help="steps between checkpoints")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the same losses on every machine

    mix = smollm3_mix.open_mix("demo")
    file = tokenizer(options.output / "tokenizer.json", mix)
    windows = smollm3_mix.open_packed(mix, tokenizer=file, sequence_length=options.length).stream()
    model = Model(Tokenizer.from_file(str(file)).get_vocab_size())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    first, checkpoint = 1, options.output / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved["step"] + 1
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        windows.load_state_dict(json.loads(saved["windows"]))
        print(f"Resuming at step {first}")

    log = (options.output / "log.jsonl").open("a", buffering=1)
    for step in range(first, options.steps + 1):
        batch = windows.read(options.batch)
        rows = [np.stack(batch[name].to_numpy(zero_copy_only=False)) for name in ("input_ids", "position_ids")]
        ids, positions = (torch.from_numpy(row).long() for row in rows)
        logits = model(ids[:, :-1], positions[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        digest = hashlib.sha256(rows[0].tobytes() + rows[1].tobytes()).hexdigest()[:16]
        log.write(json.dumps({"step": step, "loss": round(loss.item(), 4), "batch": digest, "pid": os.getpid()}) + "\n")
        if step % options.every == 0 or step == options.steps:
            state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            state["windows"] = json.dumps(windows.state_dict())
            replace(checkpoint, lambda temporary, state=state: torch.save(state, temporary))
            print(f"step {step}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
