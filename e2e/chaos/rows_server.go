package main

// serverRows are the faults of the server.
func serverRows() []Row { return nil }
