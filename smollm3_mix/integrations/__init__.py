"""Adapters for trainers, one module per trainer. May import torch, as `torch_loader.torch_format` does."""
