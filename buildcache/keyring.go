package buildcache

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// A Keyring holds the OpenPGP public keys whose signatures are believed.
// Where they come from is the caller's business: a key that is in the cache
// itself proves nothing about it.
type Keyring struct {
	keys openpgp.EntityList
}

const beginKey = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

// ReadKeyring reads armored public keys, one or more from each text. It is an
// error if one of the texts holds none.
func ReadKeyring(armored ...[]byte) (*Keyring, error) {
	k := &Keyring{}
	for _, text := range armored {
		if bytes.Contains(text, []byte("-----BEGIN PGP PRIVATE KEY BLOCK-----")) {
			return nil, errors.New("public keys: this is a private key: give the public one")
		}
		// The library reads the first block of a text; people concatenate them.
		blocks := strings.Split(string(text), beginKey)
		if len(blocks) < 2 {
			return nil, errors.New("public keys: no armored public key: want a text that begins with " + beginKey)
		}
		for _, block := range blocks[1:] {
			keys, err := readBlock(beginKey + block)
			if err != nil {
				return nil, fmt.Errorf("public keys: %w", err)
			}
			k.keys = append(k.keys, keys...)
		}
	}
	if len(k.keys) == 0 {
		return nil, errors.New("public keys: none given")
	}
	return k, nil
}

func readBlock(text string) (openpgp.EntityList, error) {
	block, err := armor.Decode(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	return openpgp.ReadKeyRing(block.Body)
}

// Fingerprints returns the keys' fingerprints in upper-case hexadecimal.
func (k *Keyring) Fingerprints() []string {
	var prints []string
	for _, e := range k.keys {
		prints = append(prints, fingerprint(e.PrimaryKey.Fingerprint))
	}
	return prints
}

// Verify checks a clearsigned text and returns what was signed, with line
// ends as they were hashed (CR LF), and the fingerprint of the signer's
// primary key. Any other outcome is ErrSignature.
//
// A signature outlives its key's expiry, as with gpg --verify, but not its
// revocation: packages stay in a cache for years.
func (k *Keyring) Verify(data []byte) (text []byte, signer string, err error) {
	m, err := splitClearsigned(data)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if m == nil {
		return nil, "", fmt.Errorf("%w: not signed, but keys were given, so that it must be", ErrSignature)
	}
	check := func(at time.Time) (*openpgp.Entity, error) {
		config := &packet.Config{Time: func() time.Time { return at }}
		return openpgp.CheckDetachedSignature(k.keys, bytes.NewReader(m.text), bytes.NewReader(m.signature), config)
	}
	now, err := m.acceptable(time.Now())
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s: %w", ErrSignature, m.issuer(), err)
	}
	e, err := check(now)
	if made, ok := m.made(); ok && errors.Is(err, pgperrors.ErrKeyExpired) {
		e, err = check(made)
	}
	if errors.Is(err, pgperrors.ErrUnknownIssuer) {
		return nil, "", fmt.Errorf("%w: made by %s, which is none of the keys given: if you trust it, add its public key", ErrSignature, m.issuer())
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s: %w", ErrSignature, m.issuer(), err)
	}
	return m.text, fingerprint(e.PrimaryKey.Fingerprint), nil
}

func fingerprint(f []byte) string { return fmt.Sprintf("%X", f) }
