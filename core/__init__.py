"""What Aether talks about: values, states and rules, without I/O."""
