"""The groups of ``wardround-site``, a file each; they only wire, and load torch only where it is needed."""
