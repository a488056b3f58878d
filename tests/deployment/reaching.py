"""What can be reached from inside of a container, and what there is to reach."""

import json
import socket
import threading
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


def lookup(name):
    return (
        f"import socket\ntry:\n    print('found', socket.gethostbyname({name!r}))\nexcept OSError:\n    pass"
    )


@contextmanager
def name_service():
    """This machine's, which knows no name; yields what it was asked."""
    asked = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind((host_address("bridge"), 53))

        def listen():
            while (came := listening.recvfrom(4096))[0]:
                asked.append(came[0])
                listening.sendto(came[0][:2] + b"\x81\x83" + came[0][4:], came[1])

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield asked
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", listening.getsockname())
        thread.join()
