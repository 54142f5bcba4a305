// Package service starts the two services of the product: a dispatcher (RunDispatcher, or Lead without
// HTTP) and a worker (RunWorker). The programs, the library and the tests share it. It joins the parts and
// decides nothing: it makes the connection that a configuration names, refuses a server that puts jobs at
// risk, gives each part the others in its own words, and sees that all of it ends.
//
// Read first RunDispatcher and RunWorker, which are lists of what runs. store.go and policy.go are what a
// worker is given: a queue's store, and how failed jobs are judged.
package service
