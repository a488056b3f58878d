"""From a hospital's record by FHIR R4: who is in a study, what is known of them, and what they agreed to."""
