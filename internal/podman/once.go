package podman

import "sync"

// A once does what several want at the same time for the first of them, and gives all of them its
// result. The zero value is ready.
type once[T any] struct {
	mu    sync.Mutex
	calls map[string]func() (T, error)
}

func (o *once[T]) do(key string, call func() (T, error)) (T, error) {
	o.mu.Lock()
	if o.calls == nil {
		o.calls = map[string]func() (T, error){}
	}
	if o.calls[key] == nil {
		o.calls[key] = sync.OnceValues(call)
	}
	first := o.calls[key]
	o.mu.Unlock()
	return first()
}
