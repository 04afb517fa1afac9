"""Lanes of a mix, and parts of a dedup index, as tasks of Ray: on this machine or over the nodes of a cluster.

cluster  connected to, its nodes looked at, jobs done on them
node     what runs on a node
"""

from smollm3_mix.engine.cluster import Cluster

__all__ = ["Cluster"]
"""The door to Ray; no other room imports it."""
