"""From a hospital's data to patients' tensors."""
