"""What is installed, and what is missing for what is wanted."""

import platform
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from toolcache import __version__
from toolcache.cli.checks.finding import Finding

if TYPE_CHECKING:
    from toolcache.settings import Settings

EXTRAS: Final = {
    "server": (("starlette", "uvicorn"), "toolcache serve"),
    "schedule": (("apscheduler",), "schedules by cron"),
    "prometheus": (("prometheus_client",), "the collector for Prometheus"),
    "otel": (("opentelemetry",), "OpenTelemetry"),
}
_OWN_ZSTD: Final = (3, 14)


def extras(settings: "Settings") -> Iterator[Finding]:
    """Of the interpreter and the extras."""
    yield Finding(
        "version", "ok", f"toolcache {__version__} on Python {platform.python_version()}, {platform.system()}"
    )
    missing = {name: what for name, (modules, what) in EXTRAS.items() if not all(map(_is_there, modules))}
    if missing:
        listed = ", ".join(f"{name} ({what})" for name, what in missing.items())
        do = f"if you want them: in a checkout, pip install '.[{','.join(missing)}]'"
        yield Finding("extras", "note", f"not installed: {listed}", do)
    else:
        yield Finding("extras", "ok", "all are installed")
    if settings.compressor == "zstd" and sys.version_info < _OWN_ZSTD and not _is_there("backports.zstd"):
        do = "in a checkout, pip install '.[zstd]'; or set compressor to zlib"
        yield Finding("extras", "bad", "compressor is zstd, and what it needs is not installed", do)
    if not _is_there("hiredis"):
        do = "pip install hiredis"
        yield Finding("extras", "note", "hiredis is not installed: replies of Redis are read more slowly", do)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False
