"""The coordinator's gateway: nginx, and what it lets through to the SuperLink.

The SuperLink's one port answers everybody everything, so this list is all that stands before it.
"""

import ipaddress
from string import Template
from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from federation.admission import Port
from federation.schema import Frozen

# All that a SuperNode of flwr 1.41 or 1.42 asks for (flwr/supernode/fleet_http_client.py), but register-node
# and unregister-node: who belongs to the federation is not for a SuperNode to say.
SITES = (
    "/v1/fleet/activate-node",  # it starts
    "/v1/fleet/deactivate-node",  # it stops
    "/v1/fleet/send-node-heartbeat",  # it is there
    "/v1/fleet/pull-messages",  # is there a message?
    "/v1/fleet/pull-object",  # its parts
    "/v1/fleet/confirm-message-received",  # all parts are there
    "/v1/fleet/push-messages",  # the reply
    "/v1/fleet/push-object",  # its parts
    "/v1/fleet/get-run",  # which run a message belongs to, with the bundle's hash
    "/v1/fleet/get-fab",  # the bundle, which is not run here
)
# What a researcher's flwr command asks for (flwr/cli). No accounts, invitations, connectors, automations and
# federations of Flower's: without a login at the SuperLink, each of them would be everybody's.
RESEARCHERS = (
    "/v1/control/start-run",  # flwr run
    "/v1/control/list-runs",  # flwr ls
    "/v1/control/stop-run",  # flwr stop
    "/v1/control/list-nodes",  # flwr supernode list
    "/v1/control/list-federations",  # flwr federation list
    "/v1/control/show-federation",  # flwr federation list, of one
    "/v1/control/pull-artifacts",  # flwr pull
)
# Answers without an end.
STREAMS = (
    "/v1/control/stream-logs",  # flwr log, flwr run --stream
    "/v1/control/stream-run-events",  # a run's events, as they come
)
# Who belongs to the federation (flwr supernode register): wardround-coordinator admit, revoke and sync.
ADMINISTRATORS = ("/v1/control/register-node", "/v1/control/unregister-node")

# No member can have this name: it is none that the pattern of names allows.
ADMINISTRATOR = "wardround-administrator"


class Gateway(Frozen):
    """What the gateway is told.

    Attributes:
        sites_port: where hospitals connect.
        control_port: where researchers and the administrator do.
        superlink: where the SuperLink listens, ``host:port``, with a certificate for the name superlink.
        resolver: the name service that knows that host; Docker's own by default. Not asked for an address.
        run: a folder that nginx may write to: its process number, and what does not fit into memory.
    """

    sites_port: Port = 8443
    control_port: Port = 8444
    superlink: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}:[0-9]{1,5}$")] = "superlink:8000"
    resolver: Annotated[str, StringConstraints(pattern=r"^[0-9.]+(:[0-9]+)?$")] = "127.0.0.11"
    run: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9/._-]+$")] = "/tmp/nginx"  # noqa: S108

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.sites_port == self.control_port:
            raise ValueError(
                f"sites_port and control_port are both {self.sites_port}; each authority has its own"
            )
        return self


def gateway_config(settings: Gateway) -> str:
    """``nginx.conf`` for ``nginx -e stderr -p FOLDER/gateway -c nginx.conf``, with all else in that folder.

    nginx finds there server.{key,crt}, {sites,researchers}.{crt,crl}, nodes.map and superlink.crt, and reads
    them again, as this file, on SIGHUP.
    """
    sites = "".join(_location(path) for path in SITES)
    control = "".join(
        [
            *(_location(path) for path in RESEARCHERS),
            *(_location(path, *_STREAM) for path in STREAMS),
            *(_location(path, *_ADMINISTRATOR) for path in ADMINISTRATORS),
        ]
    )
    return _Text(_CONFIG).substitute(
        run=settings.run.rstrip("/"),
        resolver=_resolver(settings),
        administrator=ADMINISTRATOR,
        sites_port=settings.sites_port,
        control_port=settings.control_port,
        sites=sites.replace("@superlink", settings.superlink),
        control=control.replace("@superlink", settings.superlink),
    )


class _Text(Template):
    """A text with ``@name``, since nginx has its own ``$name``."""

    delimiter = "@"


_STREAM = ("proxy_buffering off;", "proxy_read_timeout 1h;")
_ADMINISTRATOR = ("if ($administrator = 0) { return 403; }",)


def _location(path: str, *also: str) -> str:
    lines = [*also, "proxy_pass https://@superlink$uri;"]
    return "".join(
        [f"        location = {path} {{\n", *(f"            {line}\n" for line in lines), "        }\n"]
    )


def _resolver(settings: Gateway) -> str:
    try:
        ipaddress.ip_address(settings.superlink.rpartition(":")[0])
    except ValueError:
        return f"\n    resolver {settings.resolver} valid=5s ipv6=off;"
    return ""


_CONFIG = """\
# Written by wardround-coordinator; what is changed here is lost the next time.
daemon off;
pid @run/nginx.pid;
error_log stderr error;
worker_processes auto;
worker_shutdown_timeout 60s;  # who was revoked is out a minute after SIGHUP, on open connections too

events {
    worker_connections 1024;
}

http {
    client_body_temp_path @run/body;
    proxy_temp_path @run/proxy;
    fastcgi_temp_path @run/fastcgi;
    uwsgi_temp_path @run/uwsgi;
    scgi_temp_path @run/scgi;

    # Neither queries nor bodies: only paths, of which the unknown ones may hold anything.
    log_format lines escape=json '{"time":"$time_iso8601","port":"$server_port","from":"$remote_addr",'
        '"who":"$who","certificate":"$ssl_client_serial","verified":"$ssl_client_verify",'
        '"method":"$request_method","path":"$uri","status":"$status","received":"$request_length",'
        '"sent":"$bytes_sent","seconds":"$request_time","superlink":"$upstream_status",'
        '"superlink_seconds":"$upstream_response_time"}';
    access_log /dev/stdout lines;
    server_tokens off;

    map_hash_bucket_size 1024;  # a name and a key
    map_hash_max_size 4096;
    # Who: the certificate's common name, which is all that a subject has here.
    map $ssl_client_s_dn $who {
        default "";
        "~^CN=(?<name>[a-z][a-z0-9_-]*)$" $name;
    }
    # Which SuperNode a certificate may speak for. Flower signs a timestamp alone and none of the rest, so the
    # key in the header has to belong to who is at the other end of TLS.
    map "$who:$http_flwr_public_key" $its_own_node {
        default 0;
        include nodes.map;
    }
    map $ssl_client_s_dn $administrator {
        default 0;
        "CN=@administrator" 1;
    }

    ssl_certificate server.crt;
    ssl_certificate_key server.key;
    ssl_protocols TLSv1.3;
    # A resumed session is not looked at again: neither in the revocation list, nor by which port it began on.
    ssl_session_tickets off;
    ssl_session_cache off;
    ssl_verify_client on;
    ssl_verify_depth 1;

    client_header_timeout 10s;
    client_body_timeout 60s;
    send_timeout 60s;
    keepalive_timeout 75s;
    client_header_buffer_size 2k;
    large_client_header_buffers 4 8k;
    underscores_in_headers off;
    ignore_invalid_headers on;
    client_max_body_size 16m;  # a bundle has 10 MiB at most
    client_body_buffer_size 6m;  # models travel in pieces of 5 MiB, and stay in memory

    # The variable in proxy_pass has the SuperLink looked up with each request: nginx starts before it, and
    # finds it again after its restart. An upstream block would look once, and not start without an answer.
    # The price is one TLS connection a request inside this machine. With it goes the race against uvicorn,
    # which closes idle connections after 5 s.@resolver
    # Flower authenticates SuperNodes only where the SuperLink itself has TLS, and it alone has this key.
    proxy_ssl_trusted_certificate superlink.crt;
    proxy_ssl_verify on;
    proxy_ssl_name superlink;
    proxy_ssl_protocols TLSv1.3;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    # One header, the one that was compared, however many were sent.
    proxy_set_header flwr-public-key $http_flwr_public_key;
    proxy_connect_timeout 5s;
    proxy_send_timeout 60s;
    proxy_read_timeout 60s;
    proxy_next_upstream off;
    proxy_redirect off;
    proxy_buffer_size 16k;
    proxy_buffers 16 384k;
    proxy_busy_buffers_size 768k;
    proxy_max_temp_file_size 0;

    # Hospitals.
    server {
        listen @sites_port ssl;
        ssl_client_certificate sites.crt;
        ssl_crl sites.crl;
        error_page 495 496 497 =403 @@refused;
        if ($request_method != POST) { return 403; }
        # The path as it was sent is a path below: no escapes, no dots, no query.
        if ($request_uri != $uri) { return 403; }
        if ($its_own_node = 0) { return 403; }
        location / { return 403; }
        location @@refused { return 403; }
@sites    }

    # Researchers and the administrator.
    server {
        listen @control_port ssl;
        ssl_client_certificate researchers.crt;
        ssl_crl researchers.crl;
        error_page 495 496 497 =403 @@refused;
        if ($request_method != POST) { return 403; }
        if ($request_uri != $uri) { return 403; }
        # A page in a researcher's browser finds the tunnel on that machine, too; browsers say whose it is.
        if ($http_origin != "") { return 403; }
        location / { return 403; }
        location @@refused { return 403; }
@control    }
}
"""
