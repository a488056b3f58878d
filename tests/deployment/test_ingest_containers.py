"""A hospital's ingest in containers by the compose files that ship; and what somebody inside tries.

A mutant is the same container with a line of its compose file changed.
"""

from itertools import product

import engine
import pytest
from ingest_hospital import given
from ingesting import FILL, PACS, RECORD, TOKEN, WAYS, Ingesting, missing
from reaching import addresses_of_this_machine, first_addresses, lookup, name_service, open_port, reaches

from federation.probe import answers
from simulation.programs import Programs

pytestmark = pytest.mark.deployment

INGEST = "10003:10003"
OWN = "/var/lib/wardround-ingest"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    if reason := missing():
        pytest.skip(reason)
    with engine.engine(), Programs(tmp_path_factory.mktemp("hospital")) as programs:
        engine.build("node", "custodian")
        ingesting = Ingesting(programs)
        try:
            yield ingesting.set_up()
        finally:
            ingesting.close()


@pytest.fixture(scope="module")
def filled(hospital):
    """What the ingest said that has filled the store."""
    hospital.typed("init", "--to", "/connection")
    return hospital.typed("ingest", FILL)


# It works.

READ = """
from pathlib import Path
from federation.site_store import open_store
store = open_store(Path("/data"))
for each in store.series:
    store.array(each)
print(len(store.series), len({each.patient for each in store.series}), store.version)
"""


def test_it_fills_the_store_which_the_custodian_reads(hospital, filled):
    patients = {study.patient for study in hospital.pacs.studies if given(study) == "permit"}
    series, found, version = hospital.inside("custodian", READ).split()
    assert (int(series), int(found)) == (len(hospital.allowed), len(patients))
    assert f"store version {version}" in filled


def test_it_says_what_the_store_calls_a_patient_whose_number_is_given(hospital, filled):
    number = hospital.allowed[0].patient.id
    said = hospital.typed("ingest", "pseudonym", given=f"{number}\n")
    found = hospital.inside("custodian", READ + "print(*{each.patient for each in store.series})")
    assert len(set(said.split()) & set(found.split())) == 1
    assert number not in said


def test_no_patient_is_named_by_what_it_says(hospital, filled):
    told = filled + "".join(hospital.compose("logs", "--no-color", way) for way in WAYS)
    for study in hospital.pacs.studies:
        for name in (study.patient.id, study.uid, study.accession):
            assert name not in told


def test_the_ways_stay_and_the_ingest_does_not(hospital, filled):
    running = hospital.compose("ps", "--services", "--filter", "status=running").split()
    assert sorted(running) == sorted(WAYS)


MOUNTS = """
for line in open("/proc/self/mountinfo"):
    point, options = line.split()[4:6]
    if point.startswith(("/connection", "/data", "/etc/wardround", "/run/wardround", "/var")):
        print(point, options[:2])
"""


def test_each_has_its_own_folders_alone(hospital, filled):
    own, both = f"{OWN} rw", "/etc/wardround ro"
    kept = {f"/{folder}/wardround rw" for folder in ("var/lib", "var/cache")}
    sockets = {f"/run/wardround/{name} rw" for name in ("relay", "admin")}
    assert set(hospital.inside("ingest", MOUNTS).splitlines()) == {"/data rw", own, both}
    assert set(hospital.inside("custodian", MOUNTS).splitlines()) == {"/data ro", both, *kept, *sockets}
    assert {hospital.execute(way, MOUNTS) for way in WAYS} == {""}


# What somebody inside of the ingest tries.


@pytest.fixture(scope="module")
def around(hospital, filled):
    """All that may be reached from somewhere: by address and port."""
    ports = (hospital.pacs_port, hospital.record_port, 443)
    here = {*addresses_of_this_machine(), *first_addresses()}
    there = {PACS, RECORD, TOKEN, *WAYS, *(hospital.address_of(way, "hospital") for way in WAYS)}
    with open_port() as port:
        yield [*product(sorted(here | there), (port, *ports))]


def found(said):
    return {(address, int(port)) for address, port in (line.split() for line in said.splitlines())}


@pytest.mark.attack("an ingest sends names of patients away", held_by="a network with three ways")
def test_the_ingest_reaches_archive_and_record_and_nobody_else(hospital, around):
    ports = {PACS: hospital.pacs_port, RECORD: hospital.record_port, TOKEN: 443}
    expected = {*ports.items(), *zip(WAYS, ports.values(), strict=True)}
    assert found(hospital.inside("ingest", reaches(around))) == expected


@pytest.mark.mutant("an ingest sends names of patients away", how="the network of the ways")
def test_on_the_network_of_the_ways_it_reaches_everybody(hospital, around):
    said = found(hospital.inside("ingest", reaches(around), networks=["hospital"]))
    assert {each for each in around if each[0] == hospital.address} - said == {(hospital.address, 443)}


LOOK_UP = "a program inside sends data away in names it looks up"


@pytest.mark.attack(LOOK_UP, held_by="a name service that is none")
def test_no_name_is_asked_for_outside(hospital, filled):
    with name_service() as asked:
        assert hospital.inside("ingest", lookup("stolen.example.org")) == ""
    assert asked == []


@pytest.mark.mutant(LOOK_UP, how="the machine's name service")
def test_with_the_machines_name_service_it_is(hospital, filled):
    with name_service() as asked:
        hospital.inside("ingest", lookup("stolen.example.org"), dns=hospital.address, networks=["hospital"])
    assert any(b"stolen" in question for question in asked)


@pytest.mark.attack("somebody on this machine asks the archive by its way", held_by="where it listens")
def test_the_ways_take_nothing_from_outside(hospital, filled):
    for way, port in zip(WAYS, (hospital.pacs_port, hospital.record_port, 443), strict=True):
        assert not answers(f"{hospital.address_of(way, 'hospital')}:{port}")


@pytest.mark.mutant("somebody on this machine asks the archive by its way", how="at all addresses")
def test_at_all_addresses_a_way_would(hospital, filled):
    port = hospital.pacs_port
    everywhere = "0.0.0.0"  # noqa: S104
    with hospital.changed(pacs={"command": [everywhere, PACS, str(port)]}):
        outside = hospital.address_of("pacs", "hospital")
        hospital.programs.until(lambda: answers(f"{outside}:{port}"), "a way for everybody", 30)


SECRETS = """
import os
for top in ("/connection", "/var", "/run", "/data", "/etc/wardround"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            secret = name.endswith((".key", ".secret", ".sqlite", ".credentials", ".csv"))
            if secret or folder.endswith("/keys"):
                try:
                    open(path, "rb").read(1)
                    print(path)
                except OSError:
                    pass
"""
OWN_SECRETS = {
    f"{OWN}/{name}" for name in ("pseudonyms.key", "journal.sqlite", "pacs.credentials", "opt_outs.csv")
}
STORE = "/data/manifest.sqlite"


@pytest.mark.attack("an ingest reads the custodian's keys and ledger", held_by="not mounted; another user")
def test_the_ingest_has_its_own_secrets_and_the_store(hospital, filled):
    assert set(hospital.inside("ingest", SECRETS).splitlines()) == {*OWN_SECRETS, STORE}
    mounted = hospital.inside("ingest", SECRETS, volumes=[f"{hospital.folder}/custodian:/var/lib/wardround"])
    assert set(mounted.splitlines()) == {*OWN_SECRETS, STORE}


@pytest.mark.mutant("an ingest reads the custodian's keys and ledger", how="mounted, and one user for both")
def test_with_the_custodians_user_and_folder_it_reads_them(hospital, filled):
    volumes = [f"{hospital.folder}/custodian:/var/lib/wardround"]
    said = hospital.inside("ingest", SECRETS, volumes=volumes, user="10001:10001")
    assert any(path.startswith("/var/lib/wardround/keys/") for path in said.splitlines())


# What somebody inside of the custodian tries.


@pytest.mark.attack("a custodian learns whose a pseudonym is", held_by="not mounted; another user")
def test_the_custodian_does_not_see_the_key_of_pseudonyms(hospital, filled):
    volumes = [f"{hospital.folder}/ingest:{OWN}"]
    for said in (
        hospital.inside("custodian", SECRETS),
        hospital.inside("custodian", SECRETS, volumes=volumes),
    ):
        assert STORE in said
        assert OWN not in said


@pytest.mark.mutant("a custodian learns whose a pseudonym is", how="mounted, and one user for both")
def test_with_the_ingests_user_and_folder_it_would(hospital, filled):
    volumes = [f"{hospital.folder}/ingest:{OWN}"]
    said = hospital.inside("custodian", SECRETS, volumes=volumes, user=INGEST)
    assert set(said.splitlines()) == {*OWN_SECRETS, STORE}


WRITE = """
import os, sqlite3
from pathlib import Path
array = next(Path("/data/arrays").glob("*/*.npy"))
def insert():
    with sqlite3.connect("/data/manifest.sqlite", timeout=1) as rows:
        rows.execute("INSERT INTO withdrawn VALUES ('0' , '', '')")
        rows.rollback()
tried = {
    "manifest": insert,
    "array": lambda: array.open("r+b").close(),
    "remove": lambda: array.rename(array.with_suffix(".away")) and array.with_suffix(".away").rename(array),
    "add": lambda: Path("/data/arrays/more").mkdir() or Path("/data/arrays/more").rmdir(),
    "mode": lambda: array.chmod(0o640),
}
for what, do in tried.items():
    try:
        do()
        print(what)
    except (OSError, sqlite3.Error):
        pass
"""


@pytest.mark.attack(
    "a custodian writes into the store", held_by="mounted read-only; a folder of another user"
)
def test_the_custodian_writes_nothing_into_the_store(hospital, filled):
    assert hospital.inside("custodian", WRITE) == ""
    assert hospital.inside("custodian", WRITE, volumes=[f"{hospital.folder}/data:/data:rw"]) == ""


@pytest.mark.mutant("a custodian writes into the store", how="mounted to be written, and one user for both")
def test_with_the_ingests_user_it_could(hospital, filled):
    said = hospital.inside("custodian", WRITE, volumes=[f"{hospital.folder}/data:/data:rw"], user=INGEST)
    assert said.split() == ["manifest", "array", "remove", "add", "mode"]


# As all others.

RIGHTS = """
from pathlib import Path
for line in Path("/proc/1/status").read_text().splitlines():
    name, *values = line.split()
    if name in ("Uid:", "NoNewPrivs:", "CapEff:", "CapBnd:", "Seccomp:"):
        print(name, *sorted(set(values)))
for folder in ("/opt/wardround", "/etc", "/etc/wardround", "/var/tmp", "/"):
    try:
        Path(folder, "planted").touch()
        print(folder)
    except OSError:
        pass
"""


@pytest.mark.parametrize(("service", "user"), [("ingest", 10003), *((way, 10002) for way in WAYS)])
def test_nobody_has_rights_and_nothing_can_be_planted(hospital, filled, service, user):
    none = "0" * 16
    expected = {f"Uid: {user}", "NoNewPrivs: 1", f"CapEff: {none}", f"CapBnd: {none}", "Seccomp: 2"}
    said = hospital.inside(service, RIGHTS) if service == "ingest" else hospital.execute(service, RIGHTS)
    assert set(said.splitlines()) == expected


# Last, since they change what is stored.


def test_an_archive_that_speaks_dimse_is_reached_by_c_get(hospital, filled):
    at, port = hospital.address_of("pacs", "ingest"), hospital.pacs.orthanc.dimse
    hospital.speak_dimse()
    with hospital.changed(pacs={"command": [at, PACS, str(port)]}):
        command = ("run", "--rm", "-T", "--no-deps", "-e", "WARDROUND_SITE=/etc/wardround/dimse.yaml")
        assert "store version" in hospital.compose(*command, "ingest", FILL)
    series, *_ = hospital.inside("custodian", READ.replace("/data", "/data/dimse")).split()
    assert int(series) == len(hospital.allowed)


def test_whoever_opts_out_leaves_the_store_by_the_daily_command(hospital, filled):
    with (hospital.folder / "ingest/opt_outs.csv").open("a") as listed:
        listed.write(f"{hospital.allowed[0].patient.id}\n")
    assert "; taken out: 1 by opted-out" in hospital.typed("ingest", "consent")
    series, *_ = hospital.inside("custodian", READ).split()
    gone = [study for study in hospital.allowed if study.patient == hospital.allowed[0].patient]
    assert int(series) == len(hospital.allowed) - len(gone)
