// Package dispatch is what a dispatcher shows to people and their programs: the HTTP API
// and the page of the ring. It asks through the API interface; what it answers with are
// the views of package job. Leading a ring is package resize/runner's.
package dispatch
