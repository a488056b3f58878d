"""Where the hospital's people decide: what they can ask of their custodian, and a study in words for them."""
