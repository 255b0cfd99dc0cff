"""The other caches and clients, each with the defaults that its documentation gives, behind one small adapter.

An adapter binds the library's own methods where their signatures allow. One that needs what is not installed is left out of
the run, and named.
"""

from benchmarks.peers.aiocache import AiocacheMemory, AiocacheRedis, AiocacheUnhurried
from benchmarks.peers.cashews import CashewsDisk, CashewsMemory, CashewsRedis
from benchmarks.peers.clients import Coredis, Glide, RedisPy, RedisPyPipeline, RedisPyWaiting
from benchmarks.peers.diskcache import Diskcache, DiskcacheBlocking
from benchmarks.peers.dogpile import DogpileFile, DogpileMemory, DogpileRedis
from benchmarks.peers.files import Aiofiles
from benchmarks.peers.key_value import KeyValueFiles, KeyValueMemory, KeyValueRedis
from benchmarks.peers.litellm import LitellmDual, LitellmMemory, LitellmRedis
from benchmarks.peers.memory import AsyncLru, Cachebox, Cachetools, Theine
from benchmarks.peers.vectors import LangchainFiles, LangchainMemory, LangchainRedis, Redisvl

__all__ = [
    "AiocacheMemory",
    "AiocacheRedis",
    "AiocacheUnhurried",
    "Aiofiles",
    "AsyncLru",
    "Cachebox",
    "Cachetools",
    "CashewsDisk",
    "CashewsMemory",
    "CashewsRedis",
    "Coredis",
    "Diskcache",
    "DiskcacheBlocking",
    "DogpileFile",
    "DogpileMemory",
    "DogpileRedis",
    "Glide",
    "KeyValueFiles",
    "KeyValueMemory",
    "KeyValueRedis",
    "LangchainFiles",
    "LangchainMemory",
    "LangchainRedis",
    "LitellmDual",
    "LitellmMemory",
    "LitellmRedis",
    "RedisPy",
    "RedisPyPipeline",
    "RedisPyWaiting",
    "Redisvl",
    "Theine",
]
