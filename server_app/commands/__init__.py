"""The commands of ``wardround-coordinator``, a module a group; each loads what it needs when it is called."""
