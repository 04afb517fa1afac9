"""A small byte-level BPE tokenizer, trained in a moment on the words of the tests' documents."""

from conftest import document


def save(path, vocab=400):
    """`path`, at which a tokenizer.json now lies; `<|endoftext|>` and `<|start|>` are its special tokens."""
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
