import re
from datetime import UTC, datetime

import pytest

from client_app.custodian.policy import Facts, decide
from client_app.site import hospital, simulated_site
from federation.config import CONF, compose_run
from federation.errors import ConfigError


def sites_of(*overrides):
    run = compose_run(overrides)
    return {name: simulated_site(run.federation, run.site, name) for name in run.federation.sites}


@pytest.mark.parametrize("federation", ["simulation_4", "alone"])
def test_every_federation_with_the_default_site_makes_valid_hospitals(federation):
    sites = sites_of(f"federation={federation}", "quorum=1")
    assert all(site.name == name for name, site in sites.items())


def test_each_hospital_has_the_next_part_of_the_data():
    assert [site.data.parts for site in sites_of().values()] == [(0,), (1,), (2,), (3,)]
    assert {site.data.of for site in sites_of().values()} == {4}


def test_a_federation_changes_one_hospital_alone():
    sites = sites_of("+federation.sites.birch.policy.minimum_patients=50")
    assert sites["birch"].policy.minimum_patients == 50
    assert sites["alder"].policy.minimum_patients == 20
    assert sites["birch"].policy.maximum_epsilon == sites["alder"].policy.maximum_epsilon


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+federation.sites.birch.polcy=1", "site birch.polcy is not a setting; did you mean 'policy'?"),
        (
            "+federation.sites.birch.policy.minimum_patient=1",
            "site birch.policy.minimum_patient is not a setting; did you mean 'minimum_patients'?",
        ),
        ("+federation.sites.birch.policy.maximum_epsilon=0", "site birch.policy.maximum_epsilon=0"),
        ("+federation.sites.birch.policy.maximum_epsilon=inf", "site birch.policy.maximum_epsilon=inf"),
        ("+federation.sites.birch.policy.minimum_patients=0", "site birch.policy.minimum_patients=0"),
        ("+federation.sites.birch.policy.privacy_modes=[all]", "site birch.policy.privacy_modes.0='all'"),
        ("+federation.sites.birch.data.parts=[]", "site birch.data.parts=[]"),
    ],
)
def test_a_wrong_setting_of_a_hospital_is_named(override, said):
    with pytest.raises(ConfigError) as error:
        sites_of(override)
    assert said in str(error.value)


def test_a_hospital_that_does_not_take_part_is_named():
    run = compose_run()
    with pytest.raises(ConfigError, match="site='zelkova' is not in federation simulation_4"):
        simulated_site(run.federation, run.site, "zelkova")


class TestWorkedExample:
    """``conf/site/hospital.yaml``, which hospitals copy."""

    EXAMPLE = CONF / "site" / "hospital.yaml"

    def test_is_a_whole_hospital(self):
        site = hospital(self.EXAMPLE)
        assert (site.name, site.approval) == ("alder", "operator")
        assert site.service.relay.parent != site.service.admin.parent

    def test_shows_an_ingest(self, tmp_path):
        text = self.EXAMPLE.read_text()
        shown = re.sub("^# ", "", text.partition("ingest: null\n")[2], flags=re.MULTILINE)
        (tmp_path / "site.yaml").write_text(text.replace("ingest: null\n", shown))
        site = hospital(tmp_path / "site.yaml")
        assert site.ingest.store == site.data.folder
        secret = (site.ingest.pacs.credentials, site.ingest.fhir.secret_file, site.ingest.consent.opt_outs)
        assert {path.parent for path in secret} == {site.ingest.folder}

    def test_allows_the_study_that_it_was_written_for_at_night(self):
        study = compose_run(
            [
                "study=chest_xray",
                "task.options.collection=folder",
                "task.options.images=xrays",
                "task.options.labels=labels.csv",
            ]
        ).study
        facts = Facts("alder", datetime(2026, 11, 1, 23, tzinfo=UTC), patients=480, classes=2, declared=500)
        assert decide(hospital(self.EXAMPLE).policy, study, facts).rule == "allowed"

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("minimum_patients", "minimal_patients", "policy.minimal_patients is not a setting"),
            ("  minimum_hospitals: 3", "  # minimum_hospitals: 3", "policy.minimum_hospitals"),
            ("policy:", "rules:", "rules is not a setting"),
            ("name: alder", "name: alder\napproval: configuration", "approval"),
            ("declared_patients: 500", "declared_patients: null", "declared_patients"),
            ("/run/wardround/admin/", "/run/wardround/relay/", "give each a folder"),
            ("policy:", "policy: [", "site.yaml"),
        ],
    )
    def test_what_is_wrong_in_it_leaves_no_hospital(self, old, new, said, tmp_path):
        text = self.EXAMPLE.read_text()
        assert old in text
        (tmp_path / "site.yaml").write_text(text.replace(old, new))
        with pytest.raises(ConfigError) as error:
            hospital(tmp_path / "site.yaml")
        assert said in str(error.value)

    def test_that_it_is_missing_is_said(self, tmp_path):
        with pytest.raises(ConfigError, match=r"site\.yaml is no file"):
            hospital(tmp_path / "site.yaml")
