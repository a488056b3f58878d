"""What a study promises each patient, as a statement for the record."""

from federation.against import guarantees, travel
from federation.promise import noise_multiplier
from federation.study import Study
from server_app.record import Guarantee, PrivacyStatement


def privacy_statement(study: Study, seed: int | None) -> PrivacyStatement:
    """The promise of ``study``, and whether its noise came from a secret or from a seed."""
    privacy = study.privacy
    return PrivacyStatement(
        mode=privacy.mode,
        aggregation=study.aggregation,
        travel=travel(study),
        guarantees=tuple(Guarantee(**vars(each)) for each in guarantees(study)),
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        noise_multiplier=noise_multiplier(study),
        clipping_norm=privacy.clipping_norm,
        sampling_rate=privacy.sampling_rate,
        secret="operating system" if seed is None else "simulation seed",
    )
