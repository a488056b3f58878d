"""What the project's HTML pages share: frame, look, and how they write numbers."""

from federation.page.frame import template_of

__all__ = ["template_of"]
