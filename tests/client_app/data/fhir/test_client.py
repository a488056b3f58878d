"""What the client does whatever a server answers."""

import gzip
import logging
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count, islice
from urllib.parse import parse_qs

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from fhir_scripted import page, scripted, three_pages
from pydantic import ValidationError

from client_app.data.fhir import token
from client_app.data.fhir.client import FhirClient
from client_app.data.fhir.settings import FhirSettings
from federation.certificates import key_pem, new_key, self_signed, utc_now
from federation.errors import ConfigError, DataError, RunError, WardroundError
from simulation.hospital.records import MRN

SECRET = "a-secret-of-the-client"  # noqa: S105
QUERY = {"identifier": "MRN-SECRET"}
ELSEWHERE = "credentials to another server"
IN_LOGS = "patients' numbers in logs"
ENDLESS = "a token server that fills the memory"
TO_NOTHING = "a page that has no end and unpacks to nothing"


def settings(server, **changes):
    return FhirSettings(url=server.url, patient_system=MRN, **changes)


def ids(client):
    return "".join(resource["id"] for resource in client.search("Patient", QUERY))


@contextmanager
def asking(server, slept=None, **changes):
    sleep = (lambda _: None) if slept is None else slept.append
    with FhirClient(settings(server, **changes), sleep=sleep) as client:
        yield client


@pytest.fixture
def credentials(tmp_path):
    """``credentials(server)``: settings that get tokens from it."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    return lambda server: {"token_url": f"{server.url}/token", "client_id": "wardround", "secret_file": file}


def giving_tokens(answer, uses=1000, seconds=300):
    """Answers that want a token of their own ``/token``, each good for some ``uses``."""
    numbers, left = count(1), {}

    def answered(request):
        if request.path == "/fhir/token":
            token = f"token-{next(numbers)}"
            left[f"Bearer {token}"] = uses
            return 200, {}, {"access_token": token, "token_type": "bearer", "expires_in": seconds}
        given = request.headers.get("Authorization", "")
        if not left.get(given):
            return 401, {}, {"resourceType": "OperationOutcome"}
        left[given] -= 1
        return answer(request)

    return answered


def in_three_pages():
    return scripted(lambda request: (200, {}, three_pages("/fhir", request)))


def test_it_follows_pages_to_their_end():
    with in_three_pages() as server, asking(server) as client:
        assert ids(client) == "abcdef"


def test_it_holds_one_page_at_a_time():
    with in_three_pages() as server, asking(server) as client:
        found = client.search("Patient", QUERY)
        assert [each["id"] for each in islice(found, 2)] == ["a", "b"]
        assert len(server.asked) == 1


def test_it_asks_by_post_so_that_no_address_says_whom_for():
    with in_three_pages() as server, asking(server, page=7) as client:
        ids(client)
    first = server.asked[0]
    assert (first.method, first.path) == ("POST", "/fhir/Patient/_search")
    assert first.form == {"identifier": ["MRN-SECRET"], "_count": ["7"]}
    assert first.headers["Prefer"] == "handling=strict"


def test_what_comes_along_with_a_page_is_left_out():
    def answer(_):
        content = page("a")
        content["entry"] += [
            {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
            {"resource": {"resourceType": "Organization", "id": "x"}, "search": {"mode": "include"}},
        ]
        return 200, {}, content

    with scripted(answer) as server, asking(server) as client:
        assert ids(client) == "a"


def test_a_token_that_ends_between_pages_is_renewed(credentials):
    answer = giving_tokens(lambda request: (200, {}, three_pages("/fhir", request)), uses=2)
    with scripted(answer) as server, asking(server, **credentials(server)) as client:
        assert ids(client) == "abcdef"
    assert [each.path.partition("?")[0].removeprefix("/fhir/") for each in server.asked] == [
        *("token", "Patient/_search", "Patient", "Patient"),
        *("token", "Patient"),
    ]


def test_a_token_that_is_about_to_run_out_is_renewed_before_it_is_used(credentials):
    answer = giving_tokens(lambda request: (200, {}, three_pages("/fhir", request)), seconds=5)
    with scripted(answer) as server, asking(server, **credentials(server)) as client:
        assert ids(client) == "abcdef"
    assert sum(each.path == "/fhir/token" for each in server.asked) == 3


def test_the_client_says_who_it_is_to_the_token_server_only(credentials):
    answer = giving_tokens(lambda request: (200, {}, three_pages("/fhir", request)))
    with scripted(answer) as server, asking(server, **credentials(server)) as client:
        ids(client)
    token, *others = server.asked
    assert token.headers["Authorization"] == httpx.BasicAuth("wardround", SECRET)._auth_header
    assert token.form == {"grant_type": ["client_credentials"]}
    assert {each.headers["Authorization"] for each in others} == {"Bearer token-1"}


def test_a_token_that_is_never_accepted_is_renewed_once(credentials):
    answer = giving_tokens(lambda _: None, uses=0)
    with (
        scripted(answer) as server,
        asking(server, **credentials(server)) as client,
        pytest.raises(ConfigError, match=r"refuses who asks \(HTTP 401\)"),
    ):
        ids(client)
    assert len(server.asked) == 4


LONG = b" " * 2**26


@pytest.mark.attack(ENDLESS, held_by="no more is read than a token is long")
def test_of_a_token_that_does_not_end_only_the_beginning_is_read():
    with scripted(lambda _: (200, {}, LONG)) as server, httpx.stream("GET", server.url) as answer:
        assert len(token._beginning(answer)) < 2**20
        assert answer.num_bytes_downloaded < 2**20


@pytest.mark.mutant(ENDLESS, how="all of it is read")
def test_whoever_reads_all_of_it_has_it_in_memory():
    with scripted(lambda _: (200, {}, LONG)) as server:
        assert len(httpx.get(server.url).content) == len(LONG)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ((401, {}, {"error": "invalid_client"}), r"refuses the client \(HTTP 401\); see to"),
        ((200, {}, {"no": "token"}), "gives no token"),
        ((200, {}, {"access_token": "two\nlines"}), "gives no token"),
        ((200, {}, b"<html>"), "gives no token"),
        ((200, {}, b"[" * 2**16), "gives no token"),
        ((200, {}, b" " * 2**22), "gives no token"),
    ],
)
def test_a_token_server_that_gives_none_is_named(answer, match, credentials):
    with scripted(lambda _: answer) as server, asking(server, **credentials(server)) as client:
        with pytest.raises(ConfigError, match=match) as refused:
            ids(client)
        assert SECRET not in str(refused.value)


def test_a_server_that_is_busy_is_given_the_time_that_it_asks_for():
    answers = iter([(429, {"retry-after": "7"}, {}), (503, {"retry-after": "0"}, {}), (200, {}, page("a"))])
    slept = []
    with scripted(lambda _: next(answers)) as server, asking(server, slept) as client:
        assert ids(client) == "a"
    assert slept == [7, 0]


def test_the_time_to_wait_may_be_a_date():
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    answers, slept = iter([(429, {"retry-after": until}, {}), (200, {}, page("a"))]), []
    with scripted(lambda _: next(answers)) as server, asking(server, slept) as client:
        assert ids(client) == "a"
    assert 0 < slept[0] <= 30


def test_whoever_asks_to_wait_for_hours_is_not_waited_for():
    with (
        scripted(lambda _: (429, {"retry-after": "7200"}, {})) as server,
        asking(server, slept := []) as client,
        pytest.raises(RunError, match="asks to wait 7200 s"),
    ):
        ids(client)
    assert slept == []


def test_trouble_that_passes_is_waited_for_longer_each_time():
    answers, slept = iter([*[(500, {}, {})] * 4, (200, {}, page("a"))]), []
    with scripted(lambda _: next(answers)) as server, asking(server, slept) as client:
        assert ids(client) == "a"
    assert slept == [1, 2, 4, 8]


def test_trouble_that_stays_is_told_after_six_tries():
    with (
        scripted(lambda _: (500, {}, {})) as server,
        asking(server) as client,
        pytest.raises(RunError, match="HTTP 500, 6 times; see to the server"),
    ):
        ids(client)
    assert len(server.asked) == 6


def test_whoever_waits_is_told_what_for_and_nothing_of_whom_is_asked_for():
    told = []
    with (
        scripted(lambda _: (503, {"retry-after": "3"}, {})) as server,
        FhirClient(settings(server), waits=told.append, sleep=lambda _: None) as client,
        pytest.raises(RunError),
    ):
        ids(client)
    assert [str(wait) for wait in told] == [
        f"waiting for the record (HTTP 503): next try in 3 s, {left}"
        for left in (*(f"{number} tries left" for number in (5, 4, 3, 2)), "the last try")
    ]


def test_an_answer_that_breaks_off_is_asked_for_again():
    broken = (200, {"content-length": "1000", "connection": "close"}, b'{"resourceType": ')
    answers = iter([broken, (200, {}, page("a"))])
    with scripted(lambda _: next(answers)) as server, asking(server) as client:
        assert ids(client) == "a"


def test_a_server_that_is_not_there_is_named():
    with scripted(None) as server:
        pass
    with asking(server) as client, pytest.raises(RunError, match=r"no connection .*, 6 times"):
        ids(client)


CIRCLES = {
    "to itself": lambda number: f"/fhir/Patient?page={number}",
    "of two": lambda number: f"/fhir/Patient?page={(number + 1) % 2}",
    "with ever new addresses": lambda number: f"/fhir/Patient?page={number + 1}",
}


def turning(name):
    def answer(request):
        number = int(parse_qs(request.path.partition("?")[2]).get("page", ["0"])[0])
        return 200, {}, page("a", "b", following=CIRCLES[name](number))

    return answer


@pytest.mark.attack("pages in a circle", held_by="no address twice, and each page brings something new")
@pytest.mark.parametrize("name", CIRCLES)
def test_pages_that_go_round_in_a_circle_end(name):
    with (
        scripted(turning(name)) as server,
        asking(server, most_pages=50) as client,
        pytest.raises(DataError, match="go round in a circle"),
    ):
        ids(client)
    assert len(server.asked) <= 3


@pytest.mark.mutant("pages in a circle", how="addresses are compared, contents are not")
def test_addresses_alone_do_not_tell_a_circle(monkeypatch):
    numbers = count()
    monkeypatch.setattr("client_app.data.fhir.client.hash", lambda _: next(numbers), raising=False)
    with (
        scripted(turning("with ever new addresses")) as server,
        asking(server, most_pages=50) as client,
        pytest.raises(DataError, match="more than 50 pages"),
    ):
        ids(client)


def test_an_empty_page_in_between_is_no_circle():
    pages = iter([page("a", following="/fhir/Patient?p=1"), page(following="/fhir/Patient?p=2"), page("b")])
    with scripted(lambda _: (200, {}, next(pages))) as server, asking(server) as client:
        assert ids(client) == "ab"


@pytest.mark.parametrize(("limit", "told"), [("most_pages", "2 pages"), ("most_resources", "2 resources")])
def test_more_than_the_settings_allow_is_not_read(limit, told):
    with (
        in_three_pages() as server,
        asking(server, **{limit: 2}) as client,
        pytest.raises(DataError, match=f"more than {told}; narrow the cohort, or raise ingest.fhir.{limit}"),
    ):
        ids(client)


ADDRESSES = {
    "another port": "{other}/Patient?identifier=MRN-SECRET",
    "another name": "http://localhost:{port}/fhir/Patient",
    "without a scheme": "//127.0.0.1:{otherport}/fhir/Patient",
    "a user in front": "http://127.0.0.1:{port}@127.0.0.1:{otherport}/fhir/Patient",
    "a user of this server": "http://eve@127.0.0.1:{port}/fhir/Patient",
    "another scheme": "https://127.0.0.1:{port}/fhir/Patient",
    "a backslash": "http://127.0.0.1:{otherport}\\@127.0.0.1:{port}/fhir/Patient",
}


@contextmanager
def luring(name, credentials):
    """A client of a server whose next page is elsewhere, and both servers."""
    with scripted(lambda _: (200, {}, page("z"))) as other, scripted(None) as server:
        ports = {
            "other": other.url,
            "port": server.url.split(":")[2][:-5],
            "otherport": other.url.split(":")[2][:-5],
        }
        lure = ADDRESSES[name].format(**ports)
        server.answer = giving_tokens(lambda _: (200, {}, page("a", following=lure)))
        with asking(server, **credentials(server)) as client:
            yield client, server, other


@pytest.mark.attack(ELSEWHERE, held_by="scheme, host, port and user of a link are those of the settings")
@pytest.mark.parametrize("name", ADDRESSES)
def test_a_next_page_on_another_server_is_not_asked_for(name, credentials):
    with luring(name, credentials) as (client, server, other):
        with pytest.raises(
            DataError, match=r"another server than 127.0.0.1, which is not followed|no address"
        ):
            ids(client)
        assert other.asked == []
        assert len(server.asked) == 2


@pytest.mark.mutant(ELSEWHERE, how="links are followed wherever they lead")
def test_a_link_that_is_followed_takes_the_token_along(credentials, monkeypatch):
    monkeypatch.setattr(FhirClient, "_on_this_server", lambda self, kind, current, link: current.join(link))
    with luring("another port", credentials) as (client, _, other):
        assert ids(client) == "az"
        assert [each.headers["Authorization"] for each in other.asked] == ["Bearer token-1"]


@pytest.mark.mutant(ELSEWHERE, how="only the host of a link is compared")
def test_a_host_is_not_a_server(credentials, monkeypatch):
    monkeypatch.setattr(
        FhirClient,
        "_on_this_server",
        lambda self, kind, current, link: (
            current.join(link) if current.join(link).host == current.host else 1 / 0
        ),
    )
    with luring("without a scheme", credentials) as (client, _, other):
        assert ids(client) == "az"
        assert other.asked


@contextmanager
def redirecting():
    with scripted(lambda _: (200, {}, page("z"))) as other:
        answer = (307, {"location": f"{other.url}/Patient/_search"}, {})
        with scripted(lambda _: answer) as server, asking(server) as client:
            yield client, other


@pytest.mark.attack("a redirect to another server", held_by="none is followed")
def test_a_redirect_is_not_followed():
    with redirecting() as (client, other):
        with pytest.raises(
            ConfigError, match=r"the server is elsewhere \(HTTP 307\); see to ingest.fhir.url"
        ):
            ids(client)
        assert other.asked == []


@pytest.mark.mutant("a redirect to another server", how="they are followed")
def test_a_redirect_that_is_followed_tells_whom_is_asked_for():
    with redirecting() as (client, other):
        client._http.follow_redirects = True
        assert ids(client) == "z"
        assert other.asked[0].form["identifier"] == ["MRN-SECRET"]


def test_a_proxy_of_the_environment_sees_nothing(monkeypatch):
    with scripted(lambda _: (200, {}, page("z"))) as proxy, in_three_pages() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        with asking(server) as client:
            assert ids(client) == "abcdef"
        assert proxy.asked == []


DEEP = b'{"resourceType":"Bundle","entry":' + b"[" * 200_000
NOT_PAGES = {
    "no JSON": (b"<html>MRN-SECRET</html>", "is no JSON"),
    "deep": (DEEP, "is no JSON"),
    "no bundle": ({"resourceType": "Patient", "id": "MRN-SECRET"}, "is no Bundle"),
    "a list": ([], "is no Bundle"),
    "entries that are none": ({"resourceType": "Bundle", "entry": ["MRN-SECRET"]}, "no Bundle of R4"),
    "another kind": (
        {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Group", "id": "MRN-SECRET"}}]},
        "holds something else",
    ),
    "no id": (
        {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}]},
        "something else",
    ),
    "two next pages": (
        {
            "resourceType": "Bundle",
            "link": [{"relation": "next", "url": "/a"}, {"relation": "next", "url": "/b"}],
        },
        "which page is next",
    ),
    "a link that is none": (
        {"resourceType": "Bundle", "link": [{"relation": "next", "url": 3}]},
        "which page",
    ),
}


@pytest.mark.parametrize("name", NOT_PAGES)
def test_what_is_no_page_is_refused_and_not_quoted(name):
    content, match = NOT_PAGES[name]
    with (
        scripted(lambda _: (200, {}, content)) as server,
        asking(server) as client,
        pytest.raises(DataError, match=match) as refused,
    ):
        ids(client)
    assert "MRN-SECRET" not in str(refused.value)


BOMB = gzip.compress(b" " * (64 * 2**20))
UNPACKED = "a page that unpacks to gigabytes"


def bombing(encoding, bomb=BOMB):
    return scripted(lambda _: (200, {"content-encoding": encoding}, bomb))


@pytest.mark.attack(UNPACKED, held_by="the unpacked bytes are counted as they come")
def test_a_page_that_unpacks_to_more_than_is_allowed_is_not_read():
    with (
        bombing("gzip") as server,
        asking(server, most_page_mib=2) as client,
        pytest.raises(DataError, match="a page of more than 2 MiB"),
    ):
        ids(client)


@pytest.mark.attack(UNPACKED, held_by="the unpacked bytes are counted as they come")
@pytest.mark.parametrize("packed", ["gzip, gzip", "br", "zstd"])
def test_a_page_that_is_packed_twice_or_otherwise_is_not_unpacked(packed):
    with (
        bombing(packed, gzip.compress(BOMB)) as server,
        asking(server) as client,
        pytest.raises(DataError, match="packed by something else"),
    ):
        ids(client)


@pytest.mark.mutant(UNPACKED, how="the content-length is believed")
def test_a_length_says_nothing_of_what_is_unpacked(monkeypatch):
    def believing(self, kind, answer):
        assert int(answer.headers["content-length"]) < 2 * 2**20
        return answer.read()

    monkeypatch.setattr(FhirClient, "_body", believing)
    with (
        bombing("gzip") as server,
        asking(server, most_page_mib=2) as client,
        pytest.raises(DataError, match="no JSON"),
    ):
        ids(client)


# RFC 1951, 3.2.4 and RFC 1952, 2.3: blocks of no bytes, and a file's name, may go on for ever.
UNPACK_TO_NOTHING = {
    "empty blocks": b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\0\0\0\xff\xff" * 2**20,
    "a long name": b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"a" * 2**22,
}


@pytest.mark.attack(TO_NOTHING, held_by="bytes are counted as they come, before they are unpacked")
@pytest.mark.parametrize("what", UNPACK_TO_NOTHING)
def test_a_page_that_unpacks_to_nothing_without_end_is_given_up(what):
    with (
        scripted(lambda _: (200, {"content-encoding": "gzip"}, UNPACK_TO_NOTHING[what])) as server,
        asking(server, most_page_mib=2) as client,
        pytest.raises(DataError, match="a page of more than 2 MiB"),
    ):
        ids(client)


@pytest.mark.mutant(TO_NOTHING, how="only what comes out is counted")
@pytest.mark.parametrize("what", UNPACK_TO_NOTHING)
def test_whoever_waits_for_what_comes_out_reads_it_all(what):
    with (
        scripted(lambda _: (200, {"content-encoding": "gzip"}, UNPACK_TO_NOTHING[what])) as server,
        httpx.stream("GET", server.url, trust_env=False) as answer,
    ):
        assert not list(answer.iter_bytes())
        assert answer.num_bytes_downloaded > 2**22


def test_a_page_that_cannot_be_unpacked_is_asked_for_again():
    bodies = iter([(b"\x1f\x8b\x08 no"), gzip.compress(b'{"resourceType": "Bundle"}')])
    with (
        scripted(lambda _: (200, {"content-encoding": "gzip"}, next(bodies))) as server,
        asking(server) as client,
    ):
        assert not ids(client)


def test_a_page_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr("client_app.data.fhir.client._PAGE_SECONDS", -1.0)
    with (
        in_three_pages() as server,
        asking(server) as client,
        pytest.raises(RunError, match="a page takes more"),
    ):
        ids(client)


@pytest.mark.parametrize(
    ("status", "match"), [(403, "refuses who asks"), (404, "does not take"), (400, "does not take")]
)
def test_a_server_that_says_no_is_not_asked_again(status, match):
    with (
        scripted(lambda _: (status, {}, {})) as server,
        asking(server) as client,
        pytest.raises(ConfigError, match=rf"{match}.*HTTP {status}"),
    ):
        ids(client)
    assert len(server.asked) == 1


@pytest.mark.attack(IN_LOGS, held_by="what logs addresses is kept to warnings")
def test_no_log_says_whom_was_asked_for(caplog):
    caplog.set_level(logging.DEBUG)
    with in_three_pages() as server, asking(server) as client:
        ids(client)
    assert "MRN-SECRET" not in caplog.text


@pytest.mark.mutant(IN_LOGS, how="httpx logs as it likes")
def test_httpx_would_log_whom_was_asked_for(caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "httpx")
    with in_three_pages() as server, asking(server) as client:
        ids(client)
    assert "MRN-SECRET" in caplog.text


TROUBLES = [
    (status, {"retry-after": "9999"}, {"diagnostics": "MRN-SECRET"}) for status in (400, 401, 403, 429, 500)
]


@pytest.mark.parametrize("answer", TROUBLES, ids=lambda answer: str(answer[0]))
def test_no_error_says_whom_was_asked_for(answer):
    def second_page_fails(request):
        return answer if request.method == "GET" else (200, {}, three_pages("/fhir", request))

    with (
        scripted(second_page_fails) as server,
        asking(server) as client,
        pytest.raises(WardroundError) as refused,
    ):
        ids(client)
    error = refused.value
    while error is not None:
        assert "MRN-SECRET" not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__


@pytest.fixture
def certified(tmp_path):
    """``certified(name)``: the files of a certificate for 127.0.0.1, and of its key."""

    def certify(name):
        key = new_key()
        certificate = self_signed(key, ["127.0.0.1"], utc_now())
        files = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(key_pem(key))
        return files

    return certify


def test_only_the_hospitals_own_authority_is_trusted(certified):
    ours, others = certified("ours"), certified("others")
    with scripted(lambda request: (200, {}, three_pages("/fhir", request)), tls=ours) as server:
        with asking(server, ca_file=ours[0]) as client:
            assert ids(client) == "abcdef"
        for trusted in (others[0], None):
            with (
                asking(server, ca_file=trusted) as client,
                pytest.raises(RunError, match="CERTIFICATE_VERIFY_FAILED"),
            ):
                ids(client)


def test_authorities_that_are_none_are_named(tmp_path):
    file = tmp_path / "ca.pem"
    for content in (None, "no certificate"):
        if content is not None:
            file.write_text(content)
        with pytest.raises(ConfigError, match=r"ca_file=.* cannot be used"):
            FhirClient(FhirSettings(url="https://fhir.example", patient_system=MRN, ca_file=file))


def test_a_secret_that_others_may_read_is_refused(credentials, tmp_path):
    with in_three_pages() as server:
        chosen = credentials(server)
        for mode, content, match in ((0o640, SECRET, r"mode 0640\); chmod 600"), (0o600, " \n", "is empty")):
            chosen["secret_file"].write_text(content)
            chosen["secret_file"].chmod(mode)
            with pytest.raises(DataError, match=match):
                FhirClient(settings(server, **chosen))
        with pytest.raises(DataError, match=r"none cannot be read"):
            FhirClient(settings(server, **chosen | {"secret_file": tmp_path / "none"}))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"url": "http://fhir.hospital.example"}, "must begin with https"),
        ({"url": "ftp://127.0.0.1"}, "must begin with https"),
        ({"url": "https://eve:pass@fhir.example"}, "without a user"),
        ({"url": "https://fhir.example/?a=b"}, "without a user, a query"),
        ({"token_url": "https://token.example"}, "belong together"),
        ({"token_url": "http://token.example", "client_id": "a", "secret_file": "/s"}, "token_url=.* https"),
        ({"patient_system": ""}, "patient_system"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_settings_that_would_not_be_safe_are_refused(changes, match):
    with pytest.raises(ValidationError, match=match) as refused:
        FhirSettings(**{"url": "https://fhir.example", "patient_system": MRN} | changes)
    assert "without" not in match or "pass" not in refused.value.errors()[0]["msg"]
