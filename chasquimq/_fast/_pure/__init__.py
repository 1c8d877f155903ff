"""The pure-Python twins: the reference implementation of ``chasquimq._fast`` and its type stub.

Every compiled module of ``chasquimq._fast`` behaves like the module of the same name here. These modules must
never import the compiled ones.
"""
