package sifstore

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// Keys decide which manifests count and how new ones are signed. The zero value takes and writes
// manifests without a signature.
type Keys struct {
	Trusted openpgp.EntityList // a manifest counts only with a signature of one of these; nil: any counts
	Signer  *sif.Signer        // signs what is written; nil: it is written unsigned
	Adopt   bool               // count manifests that have no signature yet, so that they can be signed
}

// ReadTrusted reads public keys, armored as gpg --export --armor writes them.
func ReadTrusted(path string) (openpgp.EntityList, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key of manifests: %w", err)
	}
	defer file.Close()
	keys, err := openpgp.ReadArmoredKeyRing(file)
	if err != nil {
		return nil, fmt.Errorf("key of manifests %s: %w", path, err)
	}
	return keys, nil
}

// trusted are the keys whose signatures count: those configured, else the one that signs.
func (k Keys) trusted() openpgp.EntityList {
	if k.Trusted == nil && k.Signer != nil {
		return openpgp.EntityList{k.Signer.Key()}
	}
	return k.Trusted
}

var (
	errUnsigned = errors.New("it has no signature, and one is asked for: who writes to this place signs it with sif:upload --sign=KEY.asc")
	errAltered  = errors.New("its signature is not one of the configured keys over this text: it was changed, or signed with another key")
)

// The signature is the last member of a manifest. It covers the text with that member empty, so
// that a manifest stays one object that is replaced at once, and plain JSON for everybody else.
const emptySignature = `"signature": ""`

// sign returns a manifest's text with its signature.
func (k Keys) sign(m Manifest) ([]byte, error) {
	m.Signature = nil
	if k.Signer == nil {
		if k.Trusted != nil {
			return nil, errors.New("manifests are signed here: give --sign=KEY.asc")
		}
		return encodeManifest(m)
	}
	m.Signature = new(string)
	text, err := encodeManifest(m)
	if err != nil {
		return nil, err
	}
	var armored bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&armored, k.Signer.Key(), bytes.NewReader(text), nil); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if err := checkSignature(k.trusted(), text, armored.String()); err != nil {
		return nil, fmt.Errorf("the key of --sign is not among those that sif_key trusts: %w", err)
	}
	signature, err := json.Marshal(armored.String())
	if err != nil {
		return nil, err
	}
	at := bytes.LastIndex(text, []byte(emptySignature))
	end := at + len(emptySignature)
	return append(append(bytes.Clone(text[:end-2]), signature...), text[end:]...), nil
}

// verify returns the text that a manifest's signature covers, which is then the one to believe.
// Without keys it is the text itself.
func (k Keys) verify(text []byte) ([]byte, error) {
	trusted := k.trusted()
	if trusted == nil {
		return text, nil
	}
	var m struct{ Signature *string }
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	if m.Signature == nil && k.Adopt {
		return text, nil
	}
	if m.Signature == nil {
		return nil, errUnsigned
	}
	encoded, err := json.Marshal(*m.Signature)
	if err != nil {
		return nil, err
	}
	member := strings.TrimSuffix(emptySignature, `""`) + string(encoded)
	at := bytes.LastIndex(text, []byte(member))
	if at < 0 {
		return nil, errAltered
	}
	signed := append(append(bytes.Clone(text[:at]), emptySignature...), text[at+len(member):]...)
	if err := checkSignature(trusted, signed, *m.Signature); err != nil {
		return nil, fmt.Errorf("%w (%v)", errAltered, err)
	}
	return signed, nil
}

// hashes are those that a signature may be over. The library by itself takes
// SHA-1 here, for which texts can be made that have the same.
var hashes = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}

func checkSignature(trusted openpgp.EntityList, text []byte, armored string) error {
	block, err := armor.Decode(strings.NewReader(armored))
	if err != nil {
		return err
	}
	if block.Type != openpgp.SignatureType {
		return fmt.Errorf("it is a %q", block.Type)
	}
	_, _, err = openpgp.VerifyDetachedSignatureAndHash(trusted, bytes.NewReader(text), block.Body, hashes, nil)
	return err
}
