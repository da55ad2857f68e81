"""What federation is: which services a peer may see and under which name, and what the gateways must do about it.

Belongs here: export and import rules, names, the messages between meshes and their checksum, the plan for the gateways,
the status told to the administrator. Values in, values out. Must not: do I/O, read a clock, log, know Envoy.
"""
