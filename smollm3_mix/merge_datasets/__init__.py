"""The documented interface of `merge_datasets.py`."""
