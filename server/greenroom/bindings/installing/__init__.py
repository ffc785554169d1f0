"""What :mod:`greenroom.bindings.environments` is made of: requirements, the installers, and what they say."""
