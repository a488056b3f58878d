"""The Kubernetes manifests: of the schemas' shape, and as closed as the compose files are."""

import copy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("coordinator", "site")
# The oldest release that is still looked after, and the newest that the schemas know.
RELEASES = ("1.33", "1.37")
WORKLOADS = ("Deployment", "StatefulSet")
HELD = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# Who may open a connection to whom, and on which ports: all that the compose files' networks allow.
EDGES = {
    "coordinator": {
        ("world", "gateway", 8443),
        ("world", "gateway", 8444),
        ("gateway", "superlink", 8000),
        ("launcher", "superlink", 8000),
    },
    "site": {("supernode", "gateway", 9443), ("gateway", "203.0.113.10/32", 8443)},
}
# Which pods see a secret; kubernetes/README.md says which files are in it.
SECRETS = {
    "coordinator": {"gateway": {"gateway"}, "superlink": {"superlink", "launcher"}},
    "site": {"gateway": {"gateway"}, "supernode": {"supernode"}},
}


def manifests(part):
    """The objects of a folder, as its kustomization lists them."""
    folder = ROOT / "kubernetes" / part
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in folder.glob("*.yaml")} == {*listed, "kustomization.yaml"}
    return [each for name in listed for each in yaml.safe_load_all((folder / name).read_text())]


def of(objects, *kinds):
    return [each for each in objects if each["kind"] in kinds]


def pods(objects):
    """Each workload's pod, by name."""
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in of(objects, *WORKLOADS)}


def labels(objects):
    return {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"]
        for each in of(objects, *WORKLOADS)
    }


def chosen(objects, selector):
    """The workloads that a selector of labels means."""
    wanted = selector.get("matchLabels", {}).items()
    assert set(selector) <= {"matchLabels"}
    return {name for name, has in labels(objects).items() if wanted <= has.items()}


def peers(objects, rules, key):
    """(who, port) that some rules let through."""
    for rule in rules:
        ports = [port["port"] for port in rule.get("ports", ())] or ["any"]
        for peer in rule.get(key, ({"world": True},)):
            if "podSelector" in peer:
                names = chosen(objects, peer["podSelector"])
            else:
                names = {peer["ipBlock"]["cidr"]} if "ipBlock" in peer else {"world"}
            yield from ((name, port) for name in names for port in ports)


def edges(objects):
    """(from, to, port) that the network policies leave open; both ends have to agree within the namespace."""
    incoming, outgoing = set(), set()
    held = {name: set() for name in pods(objects)}
    for policy in of(objects, "NetworkPolicy"):
        spec = policy["spec"]
        for name in chosen(objects, spec["podSelector"]):
            held[name] |= set(spec["policyTypes"])
            incoming |= {(who, name, port) for who, port in peers(objects, spec.get("ingress", ()), "from")}
            outgoing |= {(name, whom, port) for whom, port in peers(objects, spec.get("egress", ()), "to")}
    for name, kinds in held.items():
        if "Ingress" not in kinds:
            incoming.add(("world", name, "any"))
        if "Egress" not in kinds:
            outgoing.add((name, "world", "any"))
    inside = set(held)
    return (
        (incoming & outgoing)
        | {edge for edge in incoming if edge[0] not in inside}
        | {edge for edge in outgoing if edge[1] not in inside}
    )


def problems(part, objects):
    """What is more open than it has to be, in words."""
    found = []
    if edges(objects) != EDGES[part]:
        found.append(f"network: {sorted(map(str, edges(objects) ^ EDGES[part]))}")
    (namespace,) = of(objects, "Namespace")
    if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
        found.append("the namespace lets other pods in than restricted ones")
    users = [pod.get("securityContext", {}).get("runAsUser", 0) for pod in pods(objects).values()]
    if len(set(users)) != len(users):
        found.append("two pods are the same user")
    for name, pod in pods(objects).items():
        told = [*pod_problems(pod), *volume_problems(pod)]
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            told += container_problems(container)
        found += [f"{name}: {problem}" for problem in told]
    for secret, allowed in SECRETS[part].items():
        if has_secret(objects, secret) != allowed:
            found.append(f"secret {secret} is seen by {sorted(has_secret(objects, secret))}")
    return found


def pod_problems(pod):
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or security.get("runAsUser", 0) < 10000:
        yield "may be root, or a user of the node's"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "has all system calls"
    if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")):
        yield "shares a namespace of the node's"
    if pod.get("automountServiceAccountToken") is not False:
        yield "has a token of the cluster's"
    if pod.get("dnsPolicy") != "None":
        yield "can ask the name service, which tells others what it asks"
    if pod.get("enableServiceLinks") is not False:
        yield "is told of all services"


def container_problems(container):
    name, security = container["name"], container.get("securityContext", {})
    if security != HELD:
        yield f"{name} is held by less than {HELD}"
    if not {"memory", "ephemeral-storage"} <= set(container.get("resources", {}).get("limits", {})):
        yield f"{name} may take all memory or disk of the node"
    if any("value" not in each for each in container.get("env", ())) or container.get("envFrom"):
        yield f"{name} has secrets in its environment"
    if name != "launcher" and not {"startupProbe", "livenessProbe"} <= set(container):
        yield f"{name} may hang unnoticed"  # a launcher that ends is started again, and has nothing to ask


def volume_problems(pod):
    read_only = {"secret", "configMap"}
    for volume in pod.get("volumes", ()):
        (kind,) = set(volume) - {"name"}
        if kind not in {*read_only, "persistentVolumeClaim", "emptyDir"}:
            yield f"{volume['name']} is a {kind}"
        if kind == "emptyDir" and "sizeLimit" not in volume[kind]:
            yield f"{volume['name']} has no limit"
        if kind == "secret" and volume[kind].get("defaultMode", 0o644) & 0o337:
            yield f"{volume['name']} can be read by others"
    for container in pod["containers"]:
        for mount in container["volumeMounts"]:
            (volume,) = (each for each in pod["volumes"] if each["name"] == mount["name"])
            if (read_only & set(volume) or mount["name"] == "data") and not mount.get("readOnly"):
                yield f"{mount['name']} can be written"


def has_secret(objects, secret):
    return {
        name
        for name, pod in pods(objects).items()
        if any(volume.get("secret", {}).get("secretName") == secret for volume in pod.get("volumes", ()))
    }


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("part", PARTS)
def test_manifests_are_of_the_shape_that_kubernetes_wants(part, release):
    validate = pytest.importorskip("kubernetes_validate").validate
    for each in manifests(part):
        validate(each, release, strict=True)


@pytest.mark.attack(
    "a container of a pod reaches for the node, the cluster or another network", held_by="the manifests"
)
@pytest.mark.parametrize("part", PARTS)
def test_pods_have_what_they_need_and_no_more(part):
    assert problems(part, manifests(part)) == []


def test_the_custodian_has_no_network_and_its_socket_cannot_be_replaced():
    objects = manifests("site")
    assert not any("custodian" in edge[:2] for edge in edges(objects))
    named = [policy for policy in of(objects, "NetworkPolicy") if policy["spec"]["podSelector"]]
    assert not any("custodian" in chosen(objects, policy["spec"]["podSelector"]) for policy in named)
    for container in pods(objects)["supernode"]["containers"]:
        (relay,) = (mount for mount in container["volumeMounts"] if mount["name"] == "relay")
        assert relay["readOnly"]
    seen = {
        mount["name"] for each in pods(objects)["supernode"]["containers"] for mount in each["volumeMounts"]
    }
    assert seen == {"connection", "relay", "tmp"}


def test_both_pods_of_a_socket_run_on_one_node():
    affinity = pods(manifests("site"))["supernode"]["affinity"]["podAffinity"]
    (rule,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    assert (rule["topologyKey"], rule["labelSelector"]) == (
        "kubernetes.io/hostname",
        {"matchLabels": {"app": "custodian"}},
    )


@pytest.mark.parametrize("part", PARTS)
def test_a_name_leads_to_the_service_of_that_address(part):
    objects = manifests(part)
    services = {each["metadata"]["name"]: each["spec"].get("clusterIP") for each in of(objects, "Service")}
    for pod in pods(objects).values():
        for alias in pod.get("hostAliases", ()):
            for name in set(alias["hostnames"]) & set(services):
                assert services[name] == alias["ip"]


# Each weakens one thing of a site's manifests.
def _pod(objects, name):
    return pods(objects)[name]


def _container(objects, name):
    return _pod(objects, name)["containers"][0]


WEAKENED = {
    "the custodian may be root": lambda o: _pod(o, "custodian")["securityContext"].update(runAsUser=0),
    "the custodian has the node's network": lambda o: _pod(o, "custodian").update(hostNetwork=True),
    "a policy lets the custodian out": lambda o: of(o, "NetworkPolicy")[2]["spec"].update(podSelector={}),
    "nothing is refused by default": lambda o: o.remove(of(o, "NetworkPolicy")[0]),
    "only what comes in is refused": lambda o: of(o, "NetworkPolicy")[0]["spec"].update(
        policyTypes=["Ingress"]
    ),
    "the supernode may reach everybody": lambda o: of(o, "NetworkPolicy")[1]["spec"].update(egress=[{}]),
    "the supernode asks the name service": lambda o: _pod(o, "supernode").update(dnsPolicy="ClusterFirst"),
    "its root can be written": lambda o: _container(o, "supernode")["securityContext"].update(
        readOnlyRootFilesystem=False
    ),
    "it may gain privileges": lambda o: _container(o, "supernode")["securityContext"].pop(
        "allowPrivilegeEscalation"
    ),
    "it keeps capabilities": lambda o: _container(o, "gateway")["securityContext"].pop("capabilities"),
    "the data can be written": lambda o: _container(o, "custodian")["volumeMounts"][1].pop("readOnly"),
    "the node's disk is mounted": lambda o: _pod(o, "custodian")["volumes"].append(
        {"name": "host", "hostPath": {"path": "/"}}
    ),
    "the custodian has the gateway's key": lambda o: _pod(o, "custodian")["volumes"].append(
        {"name": "key", "secret": {"secretName": "gateway", "defaultMode": 0o440}}
    ),
    "a key is in the environment": lambda o: _container(o, "gateway").update(
        env=[{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "gateway", "key": "client.key"}}}]
    ),
    "there is no limit": lambda o: _container(o, "gateway").pop("resources"),
    "pods have a token": lambda o: _pod(o, "gateway").pop("automountServiceAccountToken"),
    "two pods are one user": lambda o: _pod(o, "supernode")["securityContext"].update(runAsUser=10001),
}


@pytest.mark.mutant(
    "a container of a pod reaches for the node, the cluster or another network",
    how="manifests with one thing left out",
)
@pytest.mark.parametrize("how", WEAKENED)
def test_whatever_is_weakened_is_found(how):
    objects = copy.deepcopy(manifests("site"))
    WEAKENED[how](objects)
    assert problems("site", objects)
