"""Proxies in C that check nothing: what forwarding alone costs, the limit for the others."""

from pathlib import Path
from typing import Final

from bench.processes import free_port
from bench.programs import find_program
from bench.proxy import Proxy

_NGINX: Final = """
daemon off;
master_process off;
pid {directory}/{name}.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/{name}-body;
    proxy_temp_path {directory}/{name}-proxy;
    fastcgi_temp_path {directory}/{name}-fastcgi;
    uwsgi_temp_path {directory}/{name}-uwsgi;
    scgi_temp_path {directory}/{name}-scgi;
    upstream app {{
        server 127.0.0.1:{backend};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "";
        }}
    }}
}}
"""

_HAPROXY: Final = """
global
    nbthread 1
defaults
    mode http
    timeout connect 3s
    timeout client 1h
    timeout server 1h
    option http-keep-alive
frontend inbound
    bind 127.0.0.1:{port}
    http-request del-header authorization
    default_backend app
backend app
    http-reuse always
    server app 127.0.0.1:{backend}
"""


def nginx_proxy(directory: Path, *, backend_port: int) -> Proxy:
    """nginx's ``proxy_pass`` with kept-alive connections to the backend."""
    name, port = "nginx", free_port()
    config = directory / f"{name}-proxy.conf"
    config.write_text(
        _NGINX.format(directory=directory, name=name, backend=backend_port, port=port)
    )
    log = directory / f"{name}-proxy.log"
    command = (find_program("nginx"), "-e", str(log), "-p", str(directory), "-c", str(config))
    return _proxy(name, command, port, log)


def haproxy(directory: Path, *, backend_port: int) -> Proxy:
    """HAProxy with one thread, re-using connections to the backend."""
    name, port = "haproxy", free_port()
    config = directory / f"{name}.cfg"
    config.write_text(_HAPROXY.format(port=port, backend=backend_port))
    command = (find_program("haproxy"), "-db", "-f", str(config))
    return _proxy(name, command, port, directory / f"{name}.log")


def _proxy(name: str, command: tuple[str, ...], port: int, log: Path) -> Proxy:
    return Proxy(name=name, argv=command, port=port, ready_port=port, ready_path="/", log=log)
