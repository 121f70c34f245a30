"""Everything that faces the network: thin shells over a DataPlane. The only layer that knows a web framework."""
