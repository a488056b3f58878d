"""What the coordinator's gateway is told, and that its list is the installed Flower's."""

import re
from inspect import getsource

import pytest
from flwr.supercore.control import control_http_client
from flwr.superlink.routers.control.router import router as control
from flwr.superlink.routers.fleet.router import router as fleet
from flwr.supernode import fleet_http_client

from federation.errors import ConfigError
from federation.schema import validated
from server_app.gateway import ADMINISTRATORS, RESEARCHERS, SITES, STREAMS, Gateway, gateway_config

FOR_A_SUPERNODE_TO_SAY = {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}


def asked_for(module):
    return set(re.findall(r'path="(/v1/[a-z/-]+)"', getsource(module)))


def test_hospitals_reach_all_that_a_supernode_asks_for_but_who_belongs_to_the_federation():
    assert set(SITES) == asked_for(fleet_http_client) - FOR_A_SUPERNODE_TO_SAY


def test_every_path_is_one_of_the_superlinks():
    offered = {route.path for router in (fleet, control) for route in router.routes}
    assert {*SITES, *RESEARCHERS, *STREAMS, *ADMINISTRATORS} <= offered


def test_streams_are_what_flower_streams():
    streamed = re.findall(r'_unary_stream\(\s+path="([^"]+)"', getsource(control_http_client))
    assert set(streamed) == set(STREAMS)


def test_no_path_is_on_both_ports():
    assert set(SITES).isdisjoint({*RESEARCHERS, *STREAMS, *ADMINISTRATORS})


def test_a_name_is_asked_of_the_resolver_and_an_address_of_nobody():
    assert "resolver 127.0.0.11 " in gateway_config(Gateway())
    assert "resolver " not in gateway_config(Gateway(superlink="192.0.2.7:8000"))


def test_nothing_of_the_settings_is_left_out():
    config = gateway_config(Gateway(sites_port=1, control_port=2, run="/run/gateway/"))
    for told in (
        "listen 1 ssl;",
        "listen 2 ssl;",
        '"CN=wardround-administrator" 1;',
        "pid /run/gateway/nginx.pid;",
    ):
        assert told in config
    assert "@superlink" not in config
    assert config.count("{") == config.count("}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"superlink": "superlink:8000; deny all"},
        {"superlink": "superlink"},
        {"resolver": "127.0.0.11 ipv6=on"},
        {"run": "/run/a;b"},
        {"sites_port": 0},
        {"sites_port": 8444},
    ],
)
def test_what_would_change_more_than_its_place_is_refused(wrong):
    with pytest.raises(ConfigError):
        validated(Gateway, wrong, "gateway")
