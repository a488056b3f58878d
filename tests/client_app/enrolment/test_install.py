"""A kit comes into use at once or not at all, and only the right one."""

from datetime import timedelta

import pytest
from click.testing import CliRunner
from cryptography import x509

from client_app.cli import commands
from federation.admission import Kit, read_connection, read_request
from federation.certificates import public_bytes, read_private_key, utc_now
from federation.enrolment import Enrolment
from federation.errors import DataError
from federation.files import write_whole
from federation.record_files import write_record
from server_app.admission.members import admit


def fits(folder):
    """Whether the client key and the certificate that are in use are a pair."""
    key = read_private_key(folder / "client.key")
    certificate = x509.load_pem_x509_certificate((folder / "client.crt").read_bytes())
    return public_bytes(key.public_key()) == public_bytes(certificate.public_key())


def install_in_place(enrolment, kit):
    """The weakened variant: key and certificate are replaced one after the other."""
    pair = enrolment._pair(kit.issued.public_key())
    write_whole(enrolment.folder / "client.key", (pair / "client.key").read_bytes(), 0o600)
    write_whole(enrolment.folder / "client.crt", kit.certificate.encode())


def deaths(killed_at, install, enrolment, kit):
    """Whether key and certificate fitted at each moment at which a renewal can be killed."""
    fitted, step, died = [], 0, True
    while died:
        step += 1
        with killed_at(step) as died:
            install(enrolment, kit)
        fitted.append(fits(enrolment.folder))
    return fitted


@pytest.fixture
def asked(alder, service):
    return alder.init("alder", service)


@pytest.fixture
def member(alder, asked, admitted):
    """A hospital that has its first certificate."""
    alder.install(admitted(asked))
    return alder


class TestInstall:
    def test_everything_is_in_its_place(self, alder, asked, admitted):
        kit = admitted(asked)
        alder.require_fitting(kit, utc_now())
        alder.install(kit)
        assert fits(alder.folder)
        assert (alder.folder / "client.crt").read_text() == kit.certificate
        assert alder.coordinator.read_text() == kit.authority
        assert read_connection(alder.connection) == kit.connection

    def test_said_twice_it_changes_nothing(self, member, asked, admitted):
        kit = admitted(asked)
        member.require_fitting(kit, utc_now())
        member.install(kit)
        assert fits(member.folder)

    @pytest.mark.attack("a hospital is led to another coordinator later", held_by="the pinned authority")
    def test_a_kit_of_another_coordinator_than_before_is_refused(self, member, asked, make_coordinator):
        other = admit(make_coordinator("hearts"), asked, utc_now())
        with pytest.raises(DataError, match=r"is of another coordinator than .*coordinator.crt"):
            member.require_fitting(other, utc_now())

    @pytest.mark.mutant("a hospital is led to another coordinator later", how="nothing is pinned")
    def test_without_the_pin_it_would_be_taken(self, member, asked, make_coordinator, monkeypatch):
        monkeypatch.setattr(Enrolment, "_require_pinned", lambda self, kit: None)
        other = admit(make_coordinator("hearts"), asked, utc_now())
        member.require_fitting(other, utc_now())

    @pytest.mark.attack("a hospital is led to another coordinator at first", held_by="the kit's words")
    def test_the_first_kit_of_another_coordinator_has_other_words(self, asked, admitted, make_coordinator):
        other = admit(make_coordinator("hearts"), asked, utc_now())
        assert other.words != admitted(asked).words

    @pytest.mark.mutant(
        "a hospital is led to another coordinator at first", how="the words are of the member"
    )
    def test_words_of_the_member_would_not_tell(self, asked, admitted, make_coordinator, monkeypatch):
        other = admit(make_coordinator("hearts"), asked, utc_now())
        monkeypatch.setattr(Kit, "canonical", property(lambda kit: f"{kit.kind} {kit.name}".encode()))
        assert other.words == admitted(asked).words

    def test_a_kit_for_a_key_that_is_not_here_is_refused(self, alder, asked, admitted, service):
        kit = admitted(asked)
        for key in alder.folder.glob("clients/*/client.key"):
            key.unlink()
        with pytest.raises(DataError, match=r"for a key that is not in .* admit .*request.json"):
            alder.require_fitting(kit, utc_now())

    def test_a_key_that_was_exchanged_on_the_disk_is_refused(self, alder, asked, admitted, tmp_path):
        kit = admitted(asked)
        other = Enrolment(tmp_path / "other")
        other.ask("alder")
        (key,) = other.folder.glob("clients/*/client.key")
        (own,) = alder.folder.glob("clients/*/client.key")
        own.write_bytes(key.read_bytes())
        with pytest.raises(DataError, match="is another key than its folder says"):
            alder.require_fitting(kit, utc_now())

    def test_another_members_kit_is_refused(self, alder, asked, admitted, tmp_path, service):
        other = Enrolment(tmp_path / "other").ask("dr_frei")
        with pytest.raises(DataError, match=r"is for the researcher dr_frei, and .* is of the site alder"):
            alder.require_fitting(admitted(other), utc_now())

    @pytest.mark.parametrize("days", [-1, 366])
    def test_a_certificate_that_is_not_valid_now_is_refused(self, days, alder, asked, admitted):
        with pytest.raises(DataError, match=r"is valid from .* set this clock"):
            alder.require_fitting(admitted(asked), utc_now() + timedelta(days=days))

    def test_a_key_that_others_may_read_is_refused(self, alder, asked, admitted):
        kit = admitted(asked)
        (key,) = alder.folder.glob("clients/*/client.key")
        key.chmod(0o640)
        with pytest.raises(DataError, match=r"client.key may be read by others .* chmod 600 it"):
            alder.require_fitting(kit, utc_now())

    def test_a_folder_where_nothing_was_asked_is_named(self, alder, asked, admitted, tmp_path):
        with pytest.raises(DataError, match=r"request.json cannot be read"):
            Enrolment(tmp_path / "empty").require_fitting(admitted(asked), utc_now())


class TestRenewal:
    def test_the_new_key_waits_until_its_certificate_comes(self, member, service, admitted):
        before = (member.folder / "client.key").read_bytes()
        kit = admitted(member.renew("alder", service))
        assert (member.folder / "client.key").read_bytes() == before
        assert fits(member.folder)
        member.install(kit)
        assert (member.folder / "client.key").read_bytes() != before
        assert fits(member.folder)
        assert len(list(member.folder.glob("clients/*"))) == 1

    def test_a_key_that_still_waits_is_kept(self, member, service, admitted):
        first = admitted(member.renew("alder", service))
        second = admitted(member.renew("alder", service))
        for kit in (first, second):
            member.require_fitting(kit, utc_now())
            member.install(kit)
            assert (member.folder / "client.crt").read_text() == kit.certificate
            assert fits(member.folder)

    @pytest.mark.attack("a renewal is killed half-way", held_by="one link to key and certificate")
    def test_killed_anywhere_key_and_certificate_fit(self, member, service, admitted, killed_at):
        kit = admitted(member.renew("alder", service))
        fitted = deaths(killed_at, Enrolment.install, member, kit)
        assert len(fitted) > 10
        assert all(fitted)
        assert (member.folder / "client.crt").read_text() == kit.certificate

    @pytest.mark.mutant("a renewal is killed half-way", how="two files are replaced one after the other")
    def test_two_files_in_place_would_be_found_unfit(self, member, service, admitted, killed_at):
        kit = admitted(member.renew("alder", service))
        assert not all(deaths(killed_at, install_in_place, member, kit))

    def test_a_first_installation_that_is_killed_is_run_again(self, alder, asked, admitted, killed_at):
        kit, step, died = admitted(asked), 0, True
        while died:
            step += 1
            with killed_at(step) as died:
                alder.install(kit)
            assert not (alder.folder / "client.crt").exists() or fits(alder.folder)
            alder.require_fitting(kit, utc_now())
        assert fits(alder.folder)


class TestCommand:
    @pytest.fixture
    def answer(self, alder, asked, admitted, tmp_path):
        """What ``install`` prints, and its exit code, where somebody answers its question so."""
        write_record(tmp_path / "alder.kit.json", admitted(asked))

        def run(said, *arguments):
            typed = ["install", str(tmp_path / "alder.kit.json"), "--to", str(alder.folder), *arguments]
            result = CliRunner().invoke(commands, typed, input=f"{said}\n")
            return result.exit_code, result.output

        return run

    def test_somebody_sees_the_words_says_yes_and_it_is_installed(self, answer, alder, asked, admitted):
        code, said = answer("y")
        assert code == 0
        for fact in (admitted(asked).words, "site alder", "lungs", "wardround.example, port 8443"):
            assert fact in said
        assert fits(alder.folder)

    @pytest.mark.parametrize("said", ["n", ""])
    def test_without_a_yes_nothing_is_installed(self, said, answer, alder):
        assert answer(said)[0] == 1
        assert not alder.coordinator.exists()
        assert not (alder.folder / "client.crt").exists()

    def test_who_has_compared_before_is_not_asked(self, answer, alder):
        assert answer("", "--yes")[0] == 0
        assert fits(alder.folder)
        assert read_request(alder.request).name == "alder"
