"""How cost grows with keys, value size, processes, hosts and tags, and where a cluster breaks first.

``python -m benchmarks.scale`` measures here, over real servers on the loopback, what one key, one listener or one tag more
costs. ``python -m benchmarks.scale.cluster`` carries that on to a cluster that no machine at hand could hold.
"""
