"""Memory, parameters, checkpoint and work, predicted from a config: counting on the meta device."""
