"""A PACS, and other archives that misbehave."""

from orthanc import pacs

__all__ = ["pacs"]
