"""What `launch.profile` measures: a module a subject."""
