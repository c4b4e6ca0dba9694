package sif

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/sylabs/sif/v2/pkg/integrity"
	"github.com/sylabs/sif/v2/pkg/sif"
)

// A Signer signs SIFs with a PGP key, as apptainer verify expects it.
type Signer struct{ key *openpgp.Entity }

// ReadSigner reads a private key, armored as gpg --export-secret-keys --armor
// writes it. An empty passphrase is none.
func ReadSigner(path, passphrase string) (*Signer, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	defer file.Close()
	keys, err := openpgp.ReadArmoredKeyRing(file)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", path, err)
	}
	for _, key := range keys {
		if key.PrivateKey == nil {
			continue
		}
		if !key.PrivateKey.Encrypted {
			return &Signer{key}, nil
		}
		if passphrase == "" {
			return nil, fmt.Errorf("signing key %s has a passphrase: set SIF_KEY_PASSPHRASE", path)
		}
		if err := key.DecryptPrivateKeys([]byte(passphrase)); err != nil {
			return nil, fmt.Errorf("signing key %s: SIF_KEY_PASSPHRASE does not open it: %w", path, err)
		}
		return &Signer{key}, nil
	}
	return nil, fmt.Errorf("signing key %s holds no private key", path)
}

// Fingerprint tells which key it is, in upper-case hexadecimal digits.
func (s *Signer) Fingerprint() string {
	if s == nil {
		return ""
	}
	return strings.ToUpper(fmt.Sprintf("%x", s.key.PrimaryKey.Fingerprint))
}

// Key returns the key, for signing what is no SIF. It is the Signer's own.
func (s *Signer) Key() *openpgp.Entity { return s.key }

// sign adds a signature over all objects to a SIF. It carries the time, so a
// signed file is another one each time.
func (s *Signer) sign(ctx context.Context, path string) error {
	if s == nil {
		return nil
	}
	image, err := sif.LoadContainerFromPath(path)
	if err != nil {
		return err
	}
	signer, err := integrity.NewSigner(image, integrity.OptSignWithEntity(s.key), integrity.OptSignWithContext(ctx))
	if err == nil {
		err = signer.Sign()
	}
	if err := errors.Join(err, image.UnloadContainer()); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return nil
}
