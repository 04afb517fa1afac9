"""The dataset card and README of a written mix."""
