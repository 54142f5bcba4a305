// Command mutants puts known bugs back into the tree, one at a time, and looks whether
// the tests notice: a suite that never fails proves nothing.
//
// A mutant is a file in catalogue: what it breaks, the checks that should fail, most
// likely first, and the lines to replace. The lines are found by their text, wherever
// they stand, so that a mutant survives what moves them. One that applies no longer is
// an error: the bug is then written anew for the code as it is.
//
// The method is that of DeMillo, Lipton and Sayward, "Hints on Test Data Selection"
// (IEEE Computer, 1978); the bugs are chosen by hand, each one that a system of this
// kind has had.
package main
