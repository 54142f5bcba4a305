package lanes

// fifo is a queue that does not let its memory grow.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) empty() bool { return f.head == len(f.items) }
func (f *fifo[T]) len() int    { return len(f.items) - f.head }
func (f *fifo[T]) push(x T)    { f.items = append(f.items, x) }
func (f *fifo[T]) peek() T     { return f.items[f.head] }

// keep lets go of all others.
func (f *fifo[T]) keep(is func(T) bool) {
	kept := f.items[:0]
	for _, x := range f.items[f.head:] {
		if is(x) {
			kept = append(kept, x)
		}
	}
	clear(f.items[len(kept):])
	f.items, f.head = kept, 0
}

func (f *fifo[T]) pop() T {
	var zero T
	x := f.items[f.head]
	f.items[f.head] = zero
	if f.head++; f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	} else if f.head > 64 && f.head*2 > len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return x
}
