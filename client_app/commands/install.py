"""``wardround-site install``: the coordinator's certificates in their places; the same as a researcher's."""

from federation.install_command import install

__all__ = ["install"]
