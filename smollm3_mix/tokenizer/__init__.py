"""Texts to token ids, and the tokenizer of a recipe."""
