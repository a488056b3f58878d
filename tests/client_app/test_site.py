import pytest

from client_app.site import simulated_site
from federation.config import compose_run
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
