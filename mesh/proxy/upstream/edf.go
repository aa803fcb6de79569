package upstream

import "container/heap"

// edf is an earliest-deadline-first schedule, Envoy's way of weighted round robin:
// a pick is due after 1/weight, so a host of weight 2 is picked twice as often, and
// picks are spread evenly. Equal deadlines go by the order of insertion.
type edf[T any] struct {
	entries edfHeap[T]
	now     float64
	order   uint64
}

type edfEntry[T any] struct {
	item     T
	deadline float64
	order    uint64
}

type edfHeap[T any] []edfEntry[T]

func (h edfHeap[T]) Len() int { return len(h) }
func (h edfHeap[T]) Less(i, j int) bool {
	if h[i].deadline != h[j].deadline {
		return h[i].deadline < h[j].deadline
	}
	return h[i].order < h[j].order
}
func (h edfHeap[T]) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *edfHeap[T]) Push(x any)   { *h = append(*h, x.(edfEntry[T])) }
func (h *edfHeap[T]) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func (s *edf[T]) add(item T, weight float64) {
	heap.Push(&s.entries, edfEntry[T]{item, s.now + 1/weight, s.order})
	s.order++
}

// pick returns the next item and schedules it again with the weight it has now.
func (s *edf[T]) pick(weight func(T) float64) T {
	e := &s.entries[0]
	item := e.item
	s.now = e.deadline
	e.deadline = s.now + 1/weight(item)
	e.order = s.order
	s.order++
	heap.Fix(&s.entries, 0)
	return item
}
