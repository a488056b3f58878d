"""What a site may decide about de-identification; all else is fixed."""

from federation.schema import Frozen


class Options(Frozen):
    """See the module.

    Attributes:
        allow_heads: take CT, MR and PET of a head, from which a face can be rendered.
        trust_annotation: take images of kinds that often have text in their pixels where
            BurnedInAnnotation says NO; whoever fills that attribute in must be known to look.
    """

    allow_heads: bool = False
    trust_annotation: bool = False


DEFAULTS = Options()
