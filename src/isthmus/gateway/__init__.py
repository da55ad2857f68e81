"""The agent of one gateway pod: gets and renews the pod's certificate, starts and supervises Envoy.

Private keys are made here and never leave the pod.
"""
