package buildcache

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// A clearsigned message, taken apart but not verified.
type clearsigned struct {
	text      []byte // as it was hashed: nothing of the file that is not signed
	signature []byte // binary signature packets
}

// splitClearsigned returns nil for a text that is not clearsigned. A message
// that is cut off, or that stands beside other text, is an error.
func splitClearsigned(data []byte) (*clearsigned, error) {
	if !bytes.HasPrefix(data, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, nil
	}
	block, rest := clearsign.Decode(data)
	if block == nil {
		return nil, errors.New("the signed message is cut off or malformed")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("there is text after the signed message")
	}
	signature, err := io.ReadAll(block.ArmoredSignature.Body)
	if err != nil {
		return nil, err
	}
	return &clearsigned{text: block.Bytes, signature: signature}, nil
}

// unsign returns the text of a clearsigned message, or data itself if it is
// none. Signatures are not checked.
func unsign(data []byte) ([]byte, error) {
	m, err := splitClearsigned(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if m == nil {
		return data, nil
	}
	return m.text, nil
}

// made returns when the signature says that it was made.
func (m *clearsigned) made() (time.Time, bool) {
	s := m.first()
	if s == nil {
		return time.Time{}, false
	}
	return s.CreationTime, true
}

// issuer names the key that the signature says it was made with.
func (m *clearsigned) issuer() string {
	switch s := m.first(); {
	case s == nil:
		return "an unknown key"
	case len(s.IssuerFingerprint) > 0:
		return "key " + fingerprint(s.IssuerFingerprint)
	case s.IssuerKeyId != nil:
		return fmt.Sprintf("key %016X", *s.IssuerKeyId)
	}
	return "an unknown key"
}

func (m *clearsigned) first() *packet.Signature {
	if all := m.signatures(); len(all) > 0 {
		return all[0]
	}
	return nil
}

// signatures are those that can be read.
func (m *clearsigned) signatures() []*packet.Signature {
	var all []*packet.Signature
	for r := packet.NewReader(bytes.NewReader(m.signature)); ; {
		p, err := r.Next()
		if err != nil {
			return all
		}
		if s, ok := p.(*packet.Signature); ok {
			all = append(all, s)
		}
	}
}

// clockSkew is how far the clock of who signs may be ahead of ours.
const clockSkew = 5 * time.Minute

// acceptable returns the time at which the signatures are to be checked: now, or a little later for
// one that was made on a clock that is ahead. It refuses those that are from the future, and those
// with a hash for which other texts with the same signature can be made.
func (m *clearsigned) acceptable(now time.Time) (time.Time, error) {
	at := now
	for _, s := range m.signatures() {
		switch s.Hash {
		case crypto.MD5, crypto.SHA1, crypto.RIPEMD160:
			return at, fmt.Errorf("made with %v, which can be forged: sign the package again with SHA-256 or better (gpg: digest-algo SHA512)", s.Hash)
		}
		if s.CreationTime.After(now.Add(clockSkew)) {
			return at, fmt.Errorf("it is from the future, %s: the clock of who signed it, or of this machine (%s), is wrong", s.CreationTime.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
		if s.CreationTime.After(at) {
			at = s.CreationTime
		}
	}
	return at, nil
}
