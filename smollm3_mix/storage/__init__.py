"""Durable files: atomic writes, locks, and outputs at URLs and on the Hub."""
