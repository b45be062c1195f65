"""One experiment from its plan to the finished run folder.

It is called `runner` because `bnexp.run` is the function of the front door.
"""
