"""A hospital's custodian as a process: everything warm, two sockets, one folder of its own."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from client_app.custodian.admin import admin_app
from client_app.custodian.custodian import Custodian
from client_app.custodian.keys import SiteKeys
from client_app.custodian.server import serve
from client_app.custodian.service import relay_app
from client_app.custodian.web import Limits
from client_app.site import HospitalConfig
from federation.errors import ConfigError, StorageError
from federation.files import locked

log = logging.getLogger("wardround.custodian")


def run_custodian(config: HospitalConfig) -> None:
    """Serve a hospital until SIGTERM or SIGINT.

    Raises:
        WardroundError: its folder, tasks, keys, ledger, audit log or sockets are not as they must be; then
            nothing is served.
    """
    service = config.service
    with alone_in(service.folder):
        load_tasks(config.policy.tasks)
        custodian = Custodian(config, service.folder, SiteKeys.kept_in(service.folder))
        custodian.audit.append("started", "custodian", facts={"version": version("wardround")})
        log.info("custodian of %s: relay=%s admin=%s", config.name, service.relay, service.admin)
        relay = relay_app(custodian.handle, Limits(seconds=service.request_seconds))
        serve({service.relay: relay, service.admin: admin_app(custodian)})
        log.info("custodian of %s: stopped", config.name)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep every other custodian out of ``folder``, which is made if it is missing (0700).

    Raises:
        ConfigError: another one serves it.
        StorageError: it cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(locked(folder / "custodian.lock", wait=False))
        except BlockingIOError as error:
            raise ConfigError(
                f"service.folder={folder}: another custodian serves it; stop that one, or give each hospital "
                "a folder of its own"
            ) from error
        except OSError as error:
            raise StorageError(
                f"service.folder={folder} cannot be used ({error.strerror}); let the custodian write there"
            ) from error
        yield


def load_tasks(packages: Iterable[str]) -> None:
    """Load the code of the tasks that may be trained, so that no first round waits for it.

    Raises:
        ConfigError: one is not installed.
    """
    for package in packages:
        try:
            import_module(package)
        except ImportError as error:
            raise ConfigError(
                f"policy.tasks names {package}, which cannot be imported ({error}); install it, or take it "
                "out"
            ) from error
