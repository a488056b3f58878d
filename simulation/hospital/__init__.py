"""A hospital to try things on: a PACS, a patient record, and patients whom nobody ever was."""
