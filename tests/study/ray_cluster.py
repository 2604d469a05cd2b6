"""A cluster of Ray on loopback, its machines separate processes: told on stdin to "add" one and to "remove" the first.

The head does no work. Each word is answered with a line: at first, and to "add", the address of the cluster.
"""

import sys

from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 128 << 20})
print(cluster.address, flush=True)
nodes = []
for line in sys.stdin:
    if line.strip() == "add":
        nodes.append(cluster.add_node(num_cpus=1, object_store_memory=128 << 20))
    else:
        cluster.remove_node(nodes.pop(0), allow_graceful=False)
    print(cluster.address, flush=True)
cluster.shutdown()
