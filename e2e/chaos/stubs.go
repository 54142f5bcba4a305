package main

import "context"

func (u *Run) page(context.Context) string { return "" }
