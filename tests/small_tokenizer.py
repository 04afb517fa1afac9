"""A small byte-level BPE tokenizer, trained on the words of the test documents."""

from conftest import document


def save(path, vocab=400):
    """Write a tokenizer.json with the special tokens `<|endoftext|>` and `<|start|>`, and return its path."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=["<|endoftext|>", "<|start|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([document("a", number) for number in range(50)], trainer)
    tokenizer.save(str(path))
    return path
