"""The controllers that make the served kinds live, each a client of the API server like any other."""
