"""An embedded Kubernetes cluster for one machine: API server, controllers, a node that runs pods as processes, DNS.

A product of its own inside the house: it knows no mesh, imports none of the other rooms, and only the command line
imports it.
"""
