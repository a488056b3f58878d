"""What can be reached from inside of a container, and what there is to reach."""

import json
import socket
from contextlib import contextmanager

import engine
from contained import host_address

NODE = f"wardround/node:{engine.TAG}"


@contextmanager
def open_port():
    """A program of this machine that listens at all of its addresses."""
    with socket.create_server(("", 0)) as listening:
        yield listening.getsockname()[1]


def reaches(addresses):
    """Code that prints to which of ``addresses`` a connection can be made."""
    return f"""
import socket
from concurrent.futures import ThreadPoolExecutor
def reached(address):
    with socket.socket() as probe:
        probe.settimeout(1.5)
        return probe.connect_ex(address) == 0
addresses = {sorted(set(addresses))!r}
with ThreadPoolExecutor(20) as pool:
    for address, found in zip(addresses, pool.map(reached, addresses)):
        if found:
            print(*address)
"""


def addresses_of_this_machine():
    found = json.loads(engine.run("ip", "-json", "-4", "address"))
    return sorted({each["local"] for link in found for each in link["addr_info"]} - {"127.0.0.1"})


def first_addresses():
    """Where Docker would be on each of its networks."""
    names = engine.run(
        "docker", "network", "ls", "--format", "{{.Name}}", "--filter", "driver=bridge"
    ).split()
    return [host_address(name) for name in names]


@contextmanager
def neighbour():
    """Another container of this machine, on Docker's own bridge; yields its address."""
    listening = "import http.server; http.server.HTTPServer(('', 8000), None).serve_forever()"
    container = engine.run(
        *("docker", "run", "--rm", "--detach", "--entrypoint", "python", NODE, "-c", listening)
    )
    try:
        found = json.loads(engine.run("docker", "inspect", container))[0]["NetworkSettings"]["IPAddress"]
        yield found
    finally:
        engine.run("docker", "kill", container)
