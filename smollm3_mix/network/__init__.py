"""Requests to servers: retries, rate limits and URLs."""
