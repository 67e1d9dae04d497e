"""Virtual networks out of namespaces, scenarios and measurements."""
