"""The app behind every proxy: nginx with one worker and a fixed answer of about 200 bytes."""

import json
from pathlib import Path
from typing import Final

from bench.processes import Process
from bench.programs import find_program

PROBE_HEADER: Final = "x-probe"
ECHO_HEADER: Final = "x-backend-saw"
"""The answer repeats the probe, which proves that this request reached the backend."""
TOKEN_HEADER: Final = "x-backend-saw-authorization"

SIZES: Final = {"1KiB": 1 << 10, "64KiB": 1 << 16, "1MiB": 1 << 20}
"""Contents served under ``/size/``, in bytes."""
BODY: Final = json.dumps({"id": "4711", "name": "Alice", "items": ["item"] * 14, "pad": "x" * 40})

_CONFIG: Final = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        default_type application/json;
        location / {{ return 200 '{body}'; }}
        location /size/ {{ root {directory}; }}
        location /probe {{
            add_header {echo_header} $http_{probe};
            add_header {token_header} $http_authorization;
            return 200 '{body}';
        }}
    }}
}}
"""


def start_nginx(directory: Path, *, port: int, core: int) -> Process:
    """Start the backend and wait for its first answer. Raises ``BenchError`` if none comes."""
    sizes = directory / "size"
    sizes.mkdir(exist_ok=True)
    for name, size in SIZES.items():
        (sizes / name).write_bytes(b"x" * size)
    config = directory / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            directory=directory,
            port=port,
            body=BODY,
            probe=PROBE_HEADER.replace("-", "_"),
            echo_header=ECHO_HEADER,
            token_header=TOKEN_HEADER,
        )
    )
    log = directory / "nginx.log"
    argv = (find_program("nginx"), "-e", str(log), "-p", str(directory), "-c", str(config))
    process = Process(argv, core=core, log=log)
    try:
        process.wait_until_ready(port, "/")
    except BaseException:
        process.stop()
        raise
    return process
