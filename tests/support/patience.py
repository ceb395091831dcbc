"""How long tests wait for what is sure to come: far longer than a busy machine takes. Who passes waits no longer."""

PATIENCE_S = 60.0
