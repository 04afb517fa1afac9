"""Run jobs in processes or on a cluster."""
