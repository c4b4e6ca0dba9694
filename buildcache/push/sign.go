package push

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// A Signer signs spec files and manifests with an OpenPGP key.
type Signer struct {
	entity *openpgp.Entity
}

// ReadSigner reads an armored private key without a passphrase, as gpg --armor --export-secret-keys
// writes it. Its errors repeat nothing of the key.
func ReadSigner(armored []byte) (*Signer, error) {
	keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
	switch {
	case err != nil || len(keys) == 0:
		return nil, errors.New("signing key: no armored OpenPGP private key: give what gpg --armor --export-secret-keys writes")
	case len(keys) > 1:
		return nil, fmt.Errorf("signing key: %d keys, want one", len(keys))
	}
	s := &Signer{keys[0]}
	key, ok := s.entity.SigningKey(time.Now())
	switch {
	case !ok:
		return nil, errors.New("signing key: it has expired, is revoked, or may not sign")
	case key.PrivateKey == nil:
		return nil, errors.New("signing key: this is a public key: give the private one")
	case key.PrivateKey.Encrypted:
		return nil, errors.New("signing key: it has a passphrase, which cannot be typed here: give one without")
	}
	return s, nil
}

// Fingerprint is that of the primary key, in upper-case hexadecimal.
func (s *Signer) Fingerprint() string { return fmt.Sprintf("%X", s.entity.PrimaryKey.Fingerprint) }

// Sign returns a text clearsigned.
func (s *Signer) Sign(text []byte) ([]byte, error) {
	key, ok := s.entity.SigningKey(time.Now())
	if !ok {
		return nil, errors.New("sign: the key has expired")
	}
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, key.PrivateKey, &packet.Config{DefaultHash: crypto.SHA512})
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return withChecksum(b.Bytes())
}

const beginSignature = "-----BEGIN PGP SIGNATURE-----"

// withChecksum writes the armor of a clearsigned text anew, with the checksum line that RFC 9580
// makes optional. GnuPG 2.2, which Spack calls, finds the end of armored data by it, or by the
// padding: without either, which is one RSA signature in 256, it refuses what is well signed.
func withChecksum(signed []byte) ([]byte, error) {
	at := bytes.LastIndex(signed, []byte(beginSignature))
	if at < 0 {
		return nil, errors.New("sign: there is no signature")
	}
	block, err := armor.Decode(bytes.NewReader(signed[at:]))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	b := bytes.NewBuffer(signed[:at:at])
	w, err := armor.EncodeWithChecksumOption(b, block.Type, block.Header, true)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if _, err := io.Copy(w, block.Body); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return append(b.Bytes(), '\n'), nil
}
