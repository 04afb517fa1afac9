"""Batches of a mix for one rank of a training run. Only `torch_format` imports torch."""
