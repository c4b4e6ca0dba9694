package sifstore

import (
	"io"
	"sync"
)

// A progressReader reports how much of a file has been read. Stores read in
// any order, and some parts twice: each piece counts once.
type progressReader struct {
	io.ReaderAt
	size   int64
	report func(total int64)

	mu   sync.Mutex
	seen map[int64]int64 // bytes by piece
	sum  int64
}

const piece = 1 << 20

func (p *progressReader) ReadAt(b []byte, offset int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, offset)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[int64]int64{}
	}
	for at := offset; at < offset+int64(n); {
		index := at / piece
		end := min(offset+int64(n), (index+1)*piece)
		most := min(piece, p.size-index*piece)
		add := min(end-at, most-p.seen[index])
		p.seen[index] += add
		p.sum += add
		at = end
	}
	p.report(p.sum)
	return n, err
}
