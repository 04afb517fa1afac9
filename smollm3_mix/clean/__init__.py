"""Cleaned text: the same documents with what is not text taken out, whitespace in order, and Unicode in NFC."""

from smollm3_mix.clean.block import clean
from smollm3_mix.clean.cleaning import PROFILES, Cleaning

__all__ = ["PROFILES", "Cleaning", "clean"]
