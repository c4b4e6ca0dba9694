// Package keypair makes key pairs to sign with: OpenPGP ones for packages and SIFs, and one for
// images as cosign makes it. It keeps no key and never writes over one.
package keypair

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// A Pair is a private key and its public one, each as text of a file.
type Pair struct{ Private, Public []byte }

// OpenPGP makes a pair that GnuPG, Spack and apptainer read: RSA of 4096 bits, which GnuPG of every
// version takes, and which does not expire. A passphrase protects the private key where it is not
// empty; Spack's builds take none.
func OpenPGP(name, passphrase string) (Pair, error) {
	config := &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 4096, Time: time.Now}
	entity, err := openpgp.NewEntity(name, "", "", config)
	if err != nil {
		return Pair{}, err
	}
	public, err := armored(openpgp.PublicKeyType, entity.Serialize)
	if err != nil {
		return Pair{}, err
	}
	private, err := armored(openpgp.PrivateKeyType, func(w io.Writer) error {
		if passphrase == "" {
			return entity.SerializePrivate(w, config)
		}
		// Signatures of the key on itself exist by now, and cannot be made with a locked one.
		if err := entity.EncryptPrivateKeys([]byte(passphrase), config); err != nil {
			return err
		}
		return entity.SerializePrivateWithoutSigning(w, config)
	})
	return Pair{private, public}, err
}

func armored(kind string, write func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, kind, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(write(w), w.Close()); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// Cosign makes a pair as cosign generate-key-pair does: ECDSA on P-256, of which a password, which
// may be empty, protects the private key.
func Cosign(password string) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	locked, err := encrypted.Encrypt(private, []byte(password))
	if err != nil {
		return Pair{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Private: pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: locked}),
		Public:  pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
	}, nil
}

// Write writes NAME.key, which only its owner may read, and NAME.pub to a folder, which it makes
// where it is missing. It replaces none.
func (p Pair) Write(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, file := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{{name + ".key", p.Private, 0o600}, {name + ".pub", p.Public, 0o644}} {
		path := filepath.Join(dir, file.name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, file.mode)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s is there already: a key is not replaced", path)
		}
		if err != nil {
			return err
		}
		_, err = f.Write(file.text)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
