"""The errors a user can cause. Everything else that is raised is a fault of the program."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it, the value, what is allowed and the fix."""
