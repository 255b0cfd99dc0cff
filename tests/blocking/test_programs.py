"""Programs that use a blocking cache, and how they end."""

import signal
from pathlib import Path

import pytest
from programs import run, start


@pytest.mark.parametrize("layers", ["memory", "memory+file", "memory+redis"])
def test_a_program_that_never_closes_it_ends(layers: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """B13: the interpreter ends at once, quietly, and what was computed last is kept where there is more than memory."""
    url = request.getfixturevalue("redis_server").url if "redis" in layers else ""
    how = "directory=sys.argv[1], files='file' in sys.argv[2], redis_url=sys.argv[3] or None, op_timeout=10"
    code = f"""
        import sys, threading, time
        from toolcache import BlockingToolCache
        cache = BlockingToolCache({how})
        threading.Thread(target=lambda: (time.sleep(0.05), cache.get_or_set("other", lambda: 1))).start()
        print(cache.get_or_set("key", lambda: "value"))
    """
    assert run(code, tmp_path, layers, url) == ("value\n", "")
    if layers != "memory":
        again = f"import sys; from toolcache import *; cache = BlockingToolCache({how}); print(cache.get('key'))"
        assert run(again, tmp_path, layers, url) == ("value\n", "")


@pytest.mark.slow
def test_a_program_ends_although_something_is_computed() -> None:
    """B13: neither a computation on the loop nor one in a thread of the cache keeps the interpreter."""
    run("""
        import asyncio, threading
        from toolcache import BlockingToolCache
        cache = BlockingToolCache(files=False)
        async def for_ever():
            await asyncio.Event().wait()
        begun = threading.Event()
        def stuck():
            begun.set()
            threading.Event().wait()
        threading.Thread(target=cache.get_or_set, args=("a", for_ever), daemon=True).start()
        threading.Thread(target=cache.get_or_set, args=("b", stuck), kwargs={"hard_timeout": 60}, daemon=True).start()
        assert begun.wait(20)
    """)


def test_a_program_ends_in_the_middle_of_an_iteration() -> None:
    """B13: an iterator that nobody has gone through to its end does not wait, as the last of all, for a loop that is gone."""
    code = """
        from toolcache import BlockingToolCache
        cache = BlockingToolCache(files=False)
        cache.set_many({str(number): number for number in range(500)})
        left = iter(cache.scan())
        print(type(next(left)).__name__)
    """
    assert run(code) == ("KeyInfo\n", "")


def test_a_thread_may_be_the_first_to_use_it_when_the_main_one_has_ended() -> None:
    """B13: the threads that a program has left to themselves can use it."""
    code = """
        import threading
        from toolcache import BlockingToolCache
        cache = BlockingToolCache(files=False)
        def later():
            threading.main_thread().join()
            print(cache.get_or_set("key", lambda: "value"), cache.get("key"))
        threading.Thread(target=later).start()
    """
    assert run(code) == ("value value\n", "")


def test_one_that_is_dropped_says_so_and_ends_its_thread() -> None:
    """BUG-102: a cache that nobody closed and nobody refers to warns, and closes what it opened."""
    out, _ = run("""
        import gc, threading, time, warnings
        from toolcache import BlockingToolCache
        cache = BlockingToolCache(files=False)
        cache.set("key", 1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del cache
            gc.collect()
        print([str(one.message)[:28] for one in caught])
        del caught  # which refers to it
        until = time.monotonic() + 20
        while threading.active_count() > 1 and time.monotonic() < until:
            time.sleep(0.001)
        print(threading.active_count())
    """)
    assert out == "['unclosed <BlockingToolCache ']\n1\n"


def test_it_goes_on_in_a_forked_child(tmp_path: Path) -> None:
    """B13: parent and child each have a loop of their own after a fork, and share the files."""
    out, err = run(
        """
        import os, signal, sys, warnings
        from toolcache import BlockingToolCache
        warnings.filterwarnings("ignore", "This process", DeprecationWarning)
        cache = BlockingToolCache(directory=sys.argv[1], file_timeout=30)
        cache.set("key", "from before")
        pid = os.fork()
        if not pid:
            signal.alarm(40)
            code = 1
            try:
                assert cache.get("key") == "from before"
                cache.set("child", "was here")
                cache.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        print(cache.get("key"), cache.get("child"))
        cache.close()
        """,
        tmp_path,
    )
    assert (out, err) == ("from before was here\n", "")


def test_an_interrupt_leaves_nothing_broken() -> None:
    """B13: Ctrl-C while a caller waits for another's computation frees that caller; the others get the value."""
    program = start("""
        import threading
        from toolcache import BlockingToolCache
        cache = BlockingToolCache(files=False)
        computing, go_on = threading.Event(), threading.Event()
        def slow():
            computing.set()
            go_on.wait(30)
            return "value"
        got = []
        other = threading.Thread(target=lambda: got.append(cache.get_or_set("key", slow)))
        other.start()
        computing.wait(30)
        try:
            print("waiting", flush=True)
            cache.get_or_set("key", lambda: "mine")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        go_on.set()
        other.join()
        print(got, cache.get("key"), cache.get_or_set("next", lambda: 1))
        cache.close()
    """)
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "waiting\n"
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=30)
    assert (out, err) == ("interrupted\n['value'] value 1\n", "")
