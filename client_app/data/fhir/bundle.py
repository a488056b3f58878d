"""The pages that a search of FHIR R4 brings (R4, 2.36 Bundle)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from federation.errors import DataError

Json = Mapping[str, Any]


def bundle(kind: str, body: bytes) -> Json:
    """What an answer holds.

    Raises:
        DataError: it is no bundle.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise DataError(
            f"FHIR {kind}: an answer is no JSON; is ingest.fhir.url the base of an R4 server?"
        ) from None
    if not isinstance(content, dict) or content.get("resourceType") != "Bundle":
        raise DataError(f"FHIR {kind}: an answer is no Bundle; is ingest.fhir.url the base of an R4 server?")
    return content


def matches(kind: str, page: Json) -> Iterator[Json]:
    """The resources that were searched for, without what came along with them.

    Raises:
        DataError: there is something else in it.
    """
    for entry in _listed(kind, page, "entry"):
        mode = entry["search"].get("mode") if isinstance(entry.get("search"), dict) else None
        if mode in ("include", "outcome"):
            continue
        resource = entry.get("resource")
        if (
            not isinstance(resource, dict)
            or resource.get("resourceType") != kind
            or not isinstance(resource.get("id"), str)
        ):
            raise DataError(f"FHIR {kind}: a page holds something else; ask the server's vendor")
        yield resource


def next_link(kind: str, page: Json) -> str | None:
    """Where the next page is, as the server writes it; None on the last one.

    Raises:
        DataError: it says so of several, or not by an address.
    """
    links = [link.get("url") for link in _listed(kind, page, "link") if link.get("relation") == "next"]
    if len(links) > 1 or not all(isinstance(link, str) for link in links):
        raise DataError(f"FHIR {kind}: it is not clear which page is next; ask the server's vendor")
    return str(links[0]) if links else None


def _listed(kind: str, page: Json, name: str) -> list[dict[str, Any]]:
    value = page.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise DataError(f"FHIR {kind}: an answer is no Bundle of R4")
    return value
