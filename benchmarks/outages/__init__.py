"""What callers of a cache notice of an outage of Redis: the same calls through the same trouble, beside other caches.

``make outage-report``, which is ``python -m benchmarks.outages``. Each cache works in a process of its own against a
server of its own. ``workload`` says what is called, ``faults`` what happens to the servers, ``oracle`` what is right,
``report`` what it came to.
"""
