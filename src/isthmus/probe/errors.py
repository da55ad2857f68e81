"""Why there is no report, grouped by who can change it. What a probe meets on its way is a report, not an error.

ProbeError
├── AgentError       no pod of the gateway could be asked: try again, or look at the gateway
└── BadOrderError    the one who gave the order must give another
"""


class ProbeError(Exception):
    """Base of everything that this room raises; the message is one line."""


class AgentError(ProbeError):
    """No gateway pod has answered; the message names each that was asked and what became of it."""


class BadOrderError(ProbeError):
    """An order breaks a rule; the message says which, and may be told to who gave it."""
