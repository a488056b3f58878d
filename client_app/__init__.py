"""What runs in a hospital: a thin relay, and the custodian behind it."""
