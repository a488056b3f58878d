from federation.unit import at_delta
from server_app.record import PrivacyStatement


def test_an_epsilon_stands_with_unit_adjacency_and_delta():
    assert at_delta(1e-5) == "per patient (add or remove one patient) at δ = 1e-05"
    assert at_delta(None) == "per patient (add or remove one patient)"


def test_the_record_says_the_same():
    fields = PrivacyStatement.model_fields
    assert at_delta(None) == f"per {fields['unit'].default} ({fields['adjacency'].default})"
