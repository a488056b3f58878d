"""The commands of a coordinator and of a researcher, as somebody types them."""

import socket

import pytest
from click.testing import CliRunner

from federation.admission import read_kit, read_request
from federation.certificates import new_key
from federation.errors import ConfigError, DataError, RefusedError
from federation.record_files import write_record
from server_app.admission.folder import Folder
from server_app.coordinator import commands


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """What ``wardround-coordinator ...`` prints, typed in a folder of its own; its error is raised."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WARDROUND_COORDINATOR", "coordinator")

    def run(*arguments, answer=None):
        result = CliRunner().invoke(commands, [str(one) for one in arguments], input=answer)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def coordinator(typed, tmp_path):
    """Its gateway's port is one where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "federation.yaml").write_text(f"name: lungs\naddress: 127.0.0.1\ncontrol_port: {port}\n")
    typed("provision", "federation.yaml", "--to", "coordinator")
    return Folder(tmp_path / "coordinator")


@pytest.fixture
def request_file(tmp_path, alder):
    write_record(tmp_path / "request.json", alder)
    return tmp_path / "request.json"


class TestAdmit:
    def test_somebody_sees_the_words_says_yes_and_reads_out_those_of_the_kit(
        self, typed, coordinator, request_file, alder, tmp_path
    ):
        result = typed("admit", request_file, answer="y\n")
        kit = read_kit(tmp_path / "alder.kit.json")
        assert result.exit_code == 0
        for fact in (
            alder.words,
            alder.identity.words,
            "somebody new",
            f"kit: {kit.words}",
            "alder.kit.json",
        ):
            assert fact in result.stdout

    @pytest.mark.parametrize("answer", ["n\n", "\n"])
    def test_without_a_yes_nobody_is_admitted(self, answer, typed, coordinator, request_file, tmp_path):
        assert typed("admit", request_file, answer=answer).exit_code == 1
        assert coordinator.book.members == ()
        assert not (tmp_path / "alder.kit.json").exists()

    def test_what_is_refused_is_refused_before_anybody_compares_words(
        self, typed, coordinator, request_file, make_request, tmp_path
    ):
        typed("admit", request_file, "--yes")
        write_record(tmp_path / "other.json", make_request("alder", new_key()))
        with pytest.raises(RefusedError, match="wardround-coordinator revoke alder first"):
            typed("admit", "other.json")

    def test_where_the_superlink_is_down_it_is_admitted_and_said_what_to_run(
        self, typed, coordinator, request_file
    ):
        result = typed("admit", request_file, "--yes")
        assert result.exit_code == 0
        assert [member.name for member in coordinator.book.admitted] == ["alder"]
        assert "does not answer" in result.stderr
        assert "  wardround-coordinator sync --folder coordinator\n" in result.stderr
        assert "reload the gateway" in result.stderr

    def test_said_again_it_says_so(self, typed, coordinator, request_file, tmp_path):
        typed("admit", request_file, "--yes", "--to", "first.json")
        result = typed("admit", request_file, "--yes", "--to", "second.json")
        assert "admitted already; the same kit again" in result.stdout
        assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()

    def test_a_strangers_nonsense_is_named(self, typed, coordinator, tmp_path):
        (tmp_path / "wrong.json").write_text("{}")
        with pytest.raises(DataError, match=r"wrong.json is no request \(name: Field required\)"):
            typed("admit", "wrong.json")

    def test_another_folder_is_refused(self, typed, request_file):
        with pytest.raises(ConfigError, match="coordinator is no coordinator's folder"):
            typed("admit", request_file)


class TestMembers:
    def test_it_says_until_when_and_who_was_put_out_and_why(self, typed, coordinator, request_file):
        typed("admit", request_file, "--yes")
        typed("revoke", "alder", "--why", "moved \x1b[red] away")
        lines = typed("members").stdout.splitlines()
        (alder,) = (line for line in lines if "alder" in line)
        assert alder.rstrip().endswith(": moved \N{REPLACEMENT CHARACTER}[red] away")
        for who in ("the gateway", "the administrator"):
            assert any(who in line and line.rstrip().endswith("valid") for line in lines)

    @pytest.mark.parametrize("why", ["", "x" * 201])
    def test_a_reason_has_a_length(self, why, typed, coordinator, request_file):
        typed("admit", request_file, "--yes")
        with pytest.raises(ConfigError, match=r"revoke.why="):
            typed("revoke", "alder", "--why", why)
        assert coordinator.book.admitted

    def test_where_the_gateways_certificate_is_lost_it_says_what_helps(self, typed, coordinator):
        (coordinator.gateway / "server.crt").unlink()
        with pytest.raises(DataError, match="wardround-coordinator sync makes it anew"):
            typed("members")


class TestResearcher:
    def test_from_a_key_to_a_certificate(self, typed, coordinator, tmp_path):
        said = typed("researcher", "init", "--name", "dr_frei", "--to", "mine").stdout
        request = read_request(tmp_path / "mine/request.json")
        assert said == f"dr_frei: {request.words}\nmine/request.json\n"
        assert typed("admit", "mine/request.json", "--yes").stderr == ""
        result = typed("researcher", "install", "dr_frei.kit.json", "--to", "mine", answer="y\n")
        assert read_kit(tmp_path / "dr_frei.kit.json").words in result.stdout
        assert (tmp_path / "mine/client.crt").read_text() == read_kit(
            tmp_path / "dr_frei.kit.json"
        ).certificate

    def test_a_folder_has_one_request(self, typed):
        typed("researcher", "init", "--name", "dr_frei", "--to", "mine")
        with pytest.raises(ConfigError, match=r"has request.json already"):
            typed("researcher", "init", "--name", "dr_frei", "--to", "mine")
        typed("researcher", "init", "--name", "dr_frei", "--to", "mine", "--force")

    def test_a_name_that_is_none_is_refused(self, typed, tmp_path):
        with pytest.raises(ConfigError, match=r"--name 'Dr. Frei' is none"):
            typed("researcher", "init", "--name", "Dr. Frei", "--to", "mine")
        assert not (tmp_path / "mine").exists()
