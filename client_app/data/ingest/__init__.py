"""From archive and record to the site store: a cohort's studies, one by one, each once."""
