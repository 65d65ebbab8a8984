"""The other side of `guard`: reads requests from stdin, decodes, writes images to stdout. Ends at the end of stdin."""

from __future__ import annotations

import importlib
import json
import math
import os
import resource
import signal
import struct
import sys
from functools import cache
from typing import BinaryIO

from jscclink.baselines.source.codec import DecodeFailure, SourceCodec
from jscclink.baselines.source.guard import _REPLY


def main() -> None:
    """Serve until stdin ends. Arguments: address space in bytes, CPU seconds per request."""
    memory_bytes, cpu_seconds = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a C library prints must not get among the replies
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    replies.write(b"+")
    replies.flush()
    while head := requests.read(8):
        size, data_size = struct.unpack("<II", head)
        request, data = requests.read(size), requests.read(data_size)
        _limit_cpu(cpu_seconds)
        _answer(replies, request, data)
        replies.flush()


def _limit_cpu(seconds: int) -> None:
    """Let the kernel end this process (SIGXCPU) when it uses so many seconds from now on."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(usage.ru_utime + usage.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _answer(replies: BinaryIO, request: bytes, data: bytes) -> None:
    module, name, options, shape = json.loads(request)
    try:
        codec = _codec(module, name, json.dumps(options))
        image = codec.decode_here(data, None if shape is None else tuple(shape))
    except DecodeFailure as failure:
        message = str(failure).encode()
        replies.write(_REPLY.pack(1, len(message), 0) + message)
    else:
        replies.write(_REPLY.pack(0, image.shape[0], image.shape[1]))
        replies.write(image.tobytes())


@cache
def _codec(module: str, name: str, options: str) -> SourceCodec:
    cls: type[SourceCodec] = getattr(importlib.import_module(module), name)
    return cls(**json.loads(options))
