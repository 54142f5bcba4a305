package main

import "context"

func (u *Run) soaked(context.Context)      {}
func (u *Run) page(context.Context) string { return "" }
func prRows(all []Row, _ uint64) []Row     { return all }
